/** What happened, as one number: a hash over all events in their order. Same seed, same digest, on every engine. */
export class Trace {
  #a = 0x811c9dc5
  #b = 0x9e3779b9
  /** Set to see every event as text. */
  listen: ((line: string) => void) | undefined

  event(at: number, what: string, host: number, detail: string): void {
    // Microseconds: the same in all engines, since times come from exact arithmetic.
    this.#eat(Math.round(at * 1_000) | 0)
    this.#eat(host)
    this.#text(what)
    this.#text(detail)
    this.listen?.(`${at.toFixed(3).padStart(11)} ${host < 0 ? '-' : `h${host}`} ${what} ${detail}`)
  }

  digest(): string {
    return [this.#a, this.#b].map(word => (word >>> 0).toString(16).padStart(8, '0')).join('')
  }

  #text(text: string): void {
    for (let index = 0; index < text.length; index += 1) this.#eat(text.charCodeAt(index))
    this.#eat(0x100)
  }

  #eat(word: number): void {
    this.#a = Math.imul(this.#a ^ word, 0x01000193)
    this.#b = Math.imul((this.#b << 5) ^ (this.#b >>> 27) ^ word, 0x85ebca6b)
  }
}
