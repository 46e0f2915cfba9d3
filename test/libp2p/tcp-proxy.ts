import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'

/** A TCP proxy that can lose connections without a sign: bytes and ends of the old ones go nowhere any more. */
export class TcpProxy {
  readonly #server: Server
  readonly #pairs = new Set<[Socket, Socket]>()
  readonly #dead: Socket[] = []
  #port = 0

  constructor(target: string) {
    const [, host, port] = target.match(/ip4\/([\d.]+)\/tcp\/(\d+)/) ?? []
    this.#server = createServer({ allowHalfOpen: true }, inbound => {
      const outbound = connect({ host: host ?? '', port: Number(port), allowHalfOpen: true })
      const pair: [Socket, Socket] = [inbound, outbound]
      this.#pairs.add(pair)
      inbound.pipe(outbound)
      outbound.pipe(inbound)
      for (const [socket, other] of [pair, [outbound, inbound]] as const) {
        socket.on('error', () => {})
        socket.on('close', () => {
          if (this.#pairs.has(pair)) other.destroy()
        })
      }
    })
  }

  async listen(): Promise<string> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    const address = this.#server.address()
    if (address === null || typeof address === 'string') throw new Error('no port')
    this.#port = address.port
    return `/ip4/127.0.0.1/tcp/${this.#port}`
  }

  /** All connections of now fall silent, at both ends, without closing. New ones work. */
  blackhole(): void {
    for (const pair of this.#pairs) {
      this.#pairs.delete(pair)
      const [inbound, outbound] = pair
      inbound.unpipe(outbound)
      outbound.unpipe(inbound)
      inbound.pause()
      outbound.pause()
      this.#dead.push(inbound, outbound)
    }
  }

  async close(): Promise<void> {
    for (const [inbound, outbound] of this.#pairs) this.#dead.push(inbound, outbound)
    this.#pairs.clear()
    for (const socket of this.#dead) socket.destroy()
    this.#server.close()
    await once(this.#server, 'close')
  }
}
