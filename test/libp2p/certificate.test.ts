import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  CERTIFICATE_BYTES,
  CertificateError,
  type CertificateProblem,
  CLOCK_SKEW_MS,
  issueCertificate,
  parseCertificate,
  USAGE_ISSUER,
  USAGE_MEMBER,
  verifyChain
} from '../../src/libp2p/certificate.ts'
import { publicKeyFromSeed } from '../../src/libp2p/keys.ts'
import type { Role } from '../../src/ports/network.ts'

const NOW = 1_700_000_000_000
const swarmSeed = randomBytes(32)
const swarm = publicKeyFromSeed(swarmSeed)
const adminSeed = randomBytes(32)
const admin = publicKeyFromSeed(adminSeed)
const member = publicKeyFromSeed(randomBytes(32))

function certificate(
  issuer: Uint8Array,
  subject: Uint8Array,
  fields: { usage?: number; role?: Role; notBefore?: number; notAfter?: number } = {}
): Uint8Array {
  return issueCertificate(issuer, {
    usage: USAGE_MEMBER,
    role: 'worker',
    subject,
    notBefore: NOW - 1_000,
    notAfter: NOW + 1_000_000,
    ...fields
  })
}

const adminCertificate = certificate(swarmSeed, admin, { usage: USAGE_MEMBER | USAGE_ISSUER, role: 'admin' })

function problem(chain: readonly Uint8Array[], subject = member, now = NOW): CertificateProblem | 'none' {
  try {
    verifyChain(chain, { swarm, subject, now })
    return 'none'
  } catch (error) {
    if (error instanceof CertificateError) return error.code
    throw error
  }
}

describe('a certificate chain', () => {
  test('is one certificate of 157 bytes when the swarm key itself has signed', () => {
    const chain = [certificate(swarmSeed, member)]
    expect(chain[0]?.length).toBe(CERTIFICATE_BYTES)
    expect(verifyChain(chain, { swarm, subject: member, now: NOW }).leaf.role).toBe('worker')
  })

  test('may go through an issuer, and ends when the first of its certificates ends', () => {
    const chain = [
      certificate(adminSeed, member, { notAfter: NOW + 5_000_000 }),
      certificate(swarmSeed, admin, { usage: USAGE_ISSUER, role: 'admin', notAfter: NOW + 10 })
    ]
    expect(verifyChain(chain, { swarm, subject: member, now: NOW }).notAfter).toBe(NOW + 10)
  })

  test('keeps all fields', () => {
    const fields = parseCertificate(certificate(swarmSeed, member, { role: 'submitter' }))
    expect(fields).toMatchObject({ usage: USAGE_MEMBER, role: 'submitter', notBefore: NOW - 1_000 })
    expect(Buffer.compare(fields.subject, member)).toBe(0)
    expect(Buffer.compare(fields.issuer, swarm)).toBe(0)
  })

  test.each<[CertificateProblem | 'none', string, () => [readonly Uint8Array[], Uint8Array?, number?]]>([
    ['malformed', 'is empty', () => [[]]],
    ['malformed', 'is longer than three', () => [[1, 2, 3, 4].map(() => certificate(swarmSeed, member))]],
    ['malformed', 'is cut off', () => [[certificate(swarmSeed, member).subarray(1)]]],
    ['not-yours', 'was stolen from another member', () => [[certificate(swarmSeed, member)], admin]],
    ['other-swarm', 'was issued by another swarm', () => [[certificate(randomBytes(32), member)]]],
    [
      'wrong-usage',
      'has an issuer that may not issue',
      () => [[certificate(adminSeed, member), certificate(swarmSeed, admin)]]
    ],
    ['wrong-usage', 'is for issuing only', () => [[certificate(swarmSeed, member, { usage: USAGE_ISSUER })]]],
    [
      'role-too-high',
      'gives more than its issuer has',
      () => [
        [
          certificate(adminSeed, member, { role: 'admin' }),
          certificate(swarmSeed, admin, { usage: USAGE_ISSUER, role: 'worker' })
        ]
      ]
    ],
    ['broken-chain', 'has links that do not fit', () => [[certificate(randomBytes(32), member), adminCertificate]]],
    ['broken-chain', 'goes on behind the swarm key', () => [[certificate(swarmSeed, member), adminCertificate]]],
    ['expired', 'has ended', () => [[certificate(swarmSeed, member, { notAfter: NOW - 1 })]]],
    ['none', 'ends now', () => [[certificate(swarmSeed, member, { notAfter: NOW })]]],
    ['not-yet-valid', 'begins later', () => [[certificate(swarmSeed, member, { notBefore: NOW + CLOCK_SKEW_MS + 1 })]]],
    [
      'none',
      'begins within the allowed skew',
      () => [[certificate(swarmSeed, member, { notBefore: NOW + CLOCK_SKEW_MS })]]
    ]
  ])('is judged %s when it %s', (expected, _what, make) => {
    const [chain, subject, now] = make()
    expect(problem(chain, subject, now)).toBe(expected)
  })

  test('proves nothing when any single bit of it is flipped', () => {
    const chain = [certificate(adminSeed, member), adminCertificate]
    expect(problem(chain)).toBe('none')
    fc.assert(
      fc.property(fc.nat({ max: 1 }), fc.nat({ max: CERTIFICATE_BYTES - 1 }), fc.nat({ max: 7 }), (which, at, bit) => {
        const forged = chain.map(one => new Uint8Array(one))
        const target = forged[which]
        if (target === undefined) return
        target[at] = (target[at] ?? 0) ^ (1 << bit)
        expect(problem(forged)).not.toBe('none')
      }),
      { numRuns: 300 }
    )
  })
})
