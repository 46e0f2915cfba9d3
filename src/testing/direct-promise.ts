/**
 * A promise of nothing that calls its listeners inside `resolve` instead of in a later microtask: the simulator settles
 * it in an event of its own, so no step of the daemon is on the stack then, and needs no turn of the event loop.
 */
export class DirectPromise implements Promise<void> {
  readonly [Symbol.toStringTag] = 'DirectPromise'
  #state: 'pending' | 'resolved' | 'rejected' = 'pending'
  #reason: unknown
  #listeners: (() => void)[] = []

  resolve(): void {
    this.#settle('resolved', undefined)
  }

  reject(reason: unknown): void {
    this.#settle('rejected', reason)
  }

  // A promise has a method of this name.
  // biome-ignore lint/suspicious/noThenProperty: it is one
  then<T = void, E = never>(
    // biome-ignore lint/suspicious/noConfusingVoidType: as in Promise<void>
    resolved?: ((value: void) => T | PromiseLike<T>) | null,
    rejected?: ((reason: unknown) => E | PromiseLike<E>) | null
  ): Promise<T | E> {
    const next = Promise.withResolvers<T | E>()
    // Nobody is told of what comes of a listener unless the caller asks for it.
    next.promise.catch(() => undefined)
    const listen = () => {
      try {
        if (this.#state === 'resolved') {
          if (resolved) next.resolve(resolved())
          else next.resolve(undefined as T)
        } else if (rejected) {
          next.resolve(rejected(this.#reason))
        } else {
          next.reject(this.#reason)
        }
      } catch (error) {
        next.reject(error)
      }
    }
    if (this.#state === 'pending') this.#listeners.push(listen)
    else listen()
    return next.promise
  }

  // biome-ignore lint/suspicious/noConfusingVoidType: as in Promise<void>
  catch<E = never>(rejected?: ((reason: unknown) => E | PromiseLike<E>) | null): Promise<void | E> {
    return this.then(undefined, rejected)
  }

  finally(after?: (() => void) | null): Promise<void> {
    return this.then(
      () => after?.(),
      reason => {
        after?.()
        throw reason
      }
    )
  }

  #settle(state: 'resolved' | 'rejected', reason: unknown): void {
    if (this.#state !== 'pending') return
    this.#state = state
    this.#reason = reason
    for (const listen of this.#listeners.splice(0)) listen()
  }
}
