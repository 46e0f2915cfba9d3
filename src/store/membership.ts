import type { SQLOutputValue, StatementSync } from 'node:sqlite'
import { StarlingError } from '../core/errors.ts'
import type { PeerId } from '../core/ids.ts'
import { PEERS_MAX } from '../core/limits.ts'
import type { Clock } from '../ports/clock.ts'
import type { IssuedToken, MembershipStore, Swarm } from '../ports/membership.ts'
import type { Role } from '../ports/network.ts'
import type { Database } from './database.ts'
import { MEMBER_ADDRESSES_MAX, TOKEN_KEEP_MS, TOKENS_MAX } from './limits.ts'
import { decodeChunks, encodeChunks } from './record-codec.ts'

/** Membership that can be given up, for a daemon that leaves its own swarm of one to join another. */
export interface StoredMembership extends MembershipStore {
  /** Forgets the swarm, its tokens and its members. Idempotent. @throws StarlingError STORAGE_FAILED */
  abandonSwarm(): void
}

type Row = Readonly<Record<string, SQLOutputValue>>
type Member = ReturnType<MembershipStore['members']>[number]

const STATEMENTS = {
  swarm: 'SELECT public_key, seed, chain, role FROM swarm',
  saveSwarm: 'INSERT OR REPLACE INTO swarm (id, public_key, seed, chain, role) VALUES (1, ?, ?, ?, ?)',
  saveToken: `INSERT INTO token (id, secret, role, uses, expires_at) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET secret = excluded.secret, role = excluded.role, uses = excluded.uses, expires_at = excluded.expires_at`,
  token: 'SELECT id, secret, role, uses, expires_at FROM token WHERE id = ?',
  tokens: 'SELECT id, secret, role, uses, expires_at FROM token ORDER BY expires_at, id',
  removeTokens: 'DELETE FROM token WHERE expires_at < ?',
  countTokens: 'SELECT count(*) AS count FROM token WHERE id <> ?',
  redeem: 'INSERT INTO redemption (token, joiner, chain) VALUES (?, ?, ?) ON CONFLICT DO NOTHING',
  redeemed: 'SELECT chain FROM redemption WHERE token = ? AND joiner = ?',
  redemptions: 'SELECT count(*) AS count FROM redemption WHERE token = ?',
  members: 'SELECT peer, name, addresses, last_seen FROM member ORDER BY last_seen DESC, peer',
  saveMember: 'INSERT OR REPLACE INTO member (peer, name, addresses, last_seen) VALUES (?, ?, ?, ?)',
  removeMembers: `DELETE FROM member WHERE peer IN
    (SELECT peer FROM member WHERE peer <> ? ORDER BY last_seen DESC, peer LIMIT -1 OFFSET ?)`
} as const

/** Membership in SQLite: each write is its own durable transaction, made before the call returns. */
export class SqliteMembership implements StoredMembership {
  readonly #database: Database
  readonly #clock: Clock
  readonly #statements: { readonly [K in keyof typeof STATEMENTS]: StatementSync }

  constructor(database: Database, clock: Clock) {
    this.#database = database
    this.#clock = clock
    const prepared = Object.entries(STATEMENTS).map(([name, sql]) => [name, database.prepare(sql)])
    this.#statements = Object.fromEntries(prepared)
  }

  swarm(): Swarm | undefined {
    const row = this.#database.read(() => this.#statements.swarm.get())
    if (row === undefined) return undefined
    return {
      publicKey: bytes(row.public_key),
      seed: row.seed === null ? undefined : bytes(row.seed),
      chain: decodeChunks(bytes(row.chain)),
      role: row.role as Role
    }
  }

  saveSwarm(swarm: Swarm): void {
    this.#database.write(() => {
      const stored = this.#statements.swarm.get()
      if (stored !== undefined && Buffer.compare(bytes(stored.public_key), swarm.publicKey) !== 0) {
        throw new StarlingError('ALREADY_MEMBER', 'this daemon is a member of another swarm', {
          hint: 'to join with another identity, start a daemon with another STARLING_HOME'
        })
      }
      this.#statements.saveSwarm.run(swarm.publicKey, swarm.seed ?? null, encodeChunks(swarm.chain), swarm.role)
    })
  }

  abandonSwarm(): void {
    const removals = ['swarm', 'token', 'member'].map(table => this.#database.prepare(`DELETE FROM ${table}`))
    this.#database.write(() => {
      for (const removal of removals) removal.run()
    })
  }

  /** @throws StarlingError LIMIT_REACHED at TOKENS_MAX tokens. */
  saveToken(token: IssuedToken): void {
    this.#database.write(() => {
      this.#statements.removeTokens.run(this.#clock.wall() - TOKEN_KEEP_MS)
      if (count(this.#statements.countTokens.get(token.id)) >= TOKENS_MAX) {
        throw new StarlingError('LIMIT_REACHED', `there are ${TOKENS_MAX} tokens already`, {
          hint: 'use one token several times (--uses), or wait: a token is forgotten a day after it has expired'
        })
      }
      this.#statements.saveToken.run(token.id, token.secret, token.role, token.uses, token.expiresAt)
    })
  }

  token(id: string): IssuedToken | undefined {
    const row = this.#database.read(() => this.#statements.token.get(id))
    return row === undefined ? undefined : readToken(row)
  }

  tokens(): IssuedToken[] {
    return this.#database.read(() => this.#statements.tokens.all()).map(readToken)
  }

  /** The first chain stays. @throws StarlingError NOT_FOUND for an unknown token. */
  burnToken(id: string, joiner: PeerId, chain: readonly Uint8Array[]): void {
    this.#database.write(() => {
      if (this.#statements.token.get(id) === undefined) throw new StarlingError('NOT_FOUND', `no token ${id}`)
      this.#statements.redeem.run(id, joiner, encodeChunks(chain))
    })
  }

  redeemed(id: string, joiner: PeerId): readonly Uint8Array[] | undefined {
    const row = this.#database.read(() => this.#statements.redeemed.get(id, joiner))
    return row === undefined ? undefined : decodeChunks(bytes(row.chain))
  }

  redemptions(id: string): number {
    return count(this.#database.read(() => this.#statements.redemptions.get(id)))
  }

  /** Last seen first. */
  members(): Member[] {
    return this.#database.read(() => this.#statements.members.all()).map(readMember)
  }

  /** Replaces what was known of the peer. Beyond PEERS_MAX those that were not seen for longest go. */
  saveMember(member: Member): void {
    const addresses = JSON.stringify(member.addresses.slice(0, MEMBER_ADDRESSES_MAX))
    this.#database.write(() => {
      this.#statements.saveMember.run(member.peer, member.name, addresses, member.lastSeen)
      this.#statements.removeMembers.run(member.peer, PEERS_MAX - 1)
    })
  }
}

function readToken(row: Row): IssuedToken {
  return {
    id: String(row.id),
    secret: bytes(row.secret),
    role: row.role as Role,
    uses: Number(row.uses),
    expiresAt: Number(row.expires_at)
  }
}

function readMember(row: Row): Member {
  return {
    peer: String(row.peer),
    name: String(row.name),
    addresses: JSON.parse(String(row.addresses)) as string[],
    lastSeen: Number(row.last_seen)
  }
}

function bytes(value: SQLOutputValue | undefined): Uint8Array {
  return value instanceof Uint8Array ? value : new Uint8Array(0)
}

function count(row: Row | undefined): number {
  return Number(row?.count ?? 0)
}
