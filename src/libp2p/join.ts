import { StarlingError } from '../core/errors.ts'
import type { PeerId } from '../core/ids.ts'
import type { Clock } from '../ports/clock.ts'
import type { MembershipStore, Swarm } from '../ports/membership.ts'
import { parseCertificate } from './certificate.ts'
import type { GateCode, GateError } from './gate-error.ts'
import type { JoinToken } from './token.ts'

/** Refusals that no further try can change, with what to tell the user. */
const FINAL: Partial<Record<GateCode, readonly [message: string, hint: string]>> = {
  'bad-token': ['the token is unknown to its issuer', 'create a new one there with `starling token create`'],
  'token-expired': ['the token has expired', 'create a new one with `starling token create`, or a longer --ttl'],
  'token-used': ['the token has been used up', 'create a new one with `starling token create`, or with more --uses'],
  'other-swarm': ['its issuer belongs to another swarm now', 'create a new token with `starling token create`'],
  expired: ["the issuer's membership has expired", 'check the clocks of both hosts'],
  'not-yet-valid': ['its certificates are not valid yet', 'check the clocks of both hosts'],
  'bad-signature': ['its issuer could not prove its membership', 'create a new token with `starling token create`'],
  'role-too-high': ['its role is higher than that of its issuer', 'create the token on a daemon with the role admin']
}

/** Whether this daemon is a member yet, and if not, why. */
export class JoinProgress {
  readonly #store: MembershipStore
  readonly #token: JoinToken | undefined
  readonly #clock: Clock
  readonly #waiting = new Set<() => void>()
  #failure: StarlingError | undefined
  #lastError = 'it did not answer'
  /** Own membership. */
  swarm: Swarm | undefined

  constructor(init: { store: MembershipStore; token: JoinToken | undefined; clock: Clock }) {
    this.#store = init.store
    this.#token = init.token
    this.#clock = init.clock
    this.swarm = init.store.swarm()
  }

  /** Stores the membership that the issuer has given. @throws StarlingError STORAGE_FAILED, ALREADY_MEMBER */
  succeeded(chain: readonly Uint8Array[]): void {
    const [leaf] = chain
    if (this.#token === undefined || leaf === undefined) throw new StarlingError('INTERNAL', 'joined without a token')
    const { role } = parseCertificate(leaf)
    const swarm: Swarm = { publicKey: this.#token.swarm, seed: undefined, chain, role }
    try {
      this.#store.saveSwarm(swarm)
    } catch (error) {
      this.#fail(
        error instanceof StarlingError
          ? error
          : new StarlingError('STORAGE_FAILED', 'membership not stored', { cause: error })
      )
      throw error
    }
    this.swarm = swarm
    this.#settle()
  }

  /** A dial ended at a gate. Only the issuer's word counts. */
  refused(peer: PeerId, error: GateError): void {
    if (this.swarm !== undefined || this.#token?.issuer !== peer) return
    this.#lastError = error.code
    const final = FINAL[error.code]
    if (final !== undefined) this.#fail(new StarlingError('TOKEN_REFUSED', final[0], { hint: final[1] }))
  }

  wait(timeoutMs: number): Promise<Swarm> {
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        if (this.swarm !== undefined) resolve(this.swarm)
        else if (this.#failure !== undefined) reject(this.#failure)
        else return
        this.#waiting.delete(settle)
        timer.cancel()
      }
      const timer = this.#clock.after(timeoutMs, () => {
        this.#waiting.delete(settle)
        reject(
          new StarlingError('TIMED_OUT', `the issuer of the token was not reached: ${this.#lastError}`, {
            hint: `check that it runs and can be dialled at ${this.#token?.addresses.join(' or ') || 'any address'}`
          })
        )
      })
      this.#waiting.add(settle)
      settle()
    })
  }

  stop(): void {
    if (this.swarm === undefined) this.#fail(new StarlingError('DAEMON_STOPPING', 'stopped before it had joined'))
  }

  #fail(error: StarlingError): void {
    this.#failure ??= error
    this.#settle()
  }

  #settle(): void {
    for (const settle of [...this.#waiting]) settle()
  }
}
