import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ARGUMENT_BYTES_MAX, COMMAND_ARGUMENTS_MAX, fillArgv, parseArgvTemplate } from '../../src/runtimes/index.ts'

const fill = (command: string[], input: unknown) => fillArgv(parseArgvTemplate(command), input)

/** Text that a process can get: well-formed, without NUL. */
const argumentText = fc.string({ unit: 'grapheme' }).map(text => text.replaceAll('\0', ''))

describe('placeholders', () => {
  test('take strings, numbers and booleans, alone and within text', () => {
    const input = { path: 'a b', line: 12, all: false, nested: { list: ['x', 'y'] } }
    expect(
      fill(['p', '{input.path}', '--at={input.path}:{input.line}', '{input.all}', '{input.nested.list.1}'], input)
    ).toEqual(['a b', '--at=a b:12', 'false', 'y'])
    expect(fill(['p', '{input}'], 'whole')).toEqual(['whole'])
  })

  test('leave other braces alone', () => {
    const literal = ['{print $1}', '{}', '{inputs}', '{input-file}', '$HOME', '$' + '{HOME}', '{{']
    expect(fill(['awk', ...literal], {})).toEqual(literal)
  })

  test.each([
    ['{input', 'cut off'],
    ['{input.}', 'an empty key'],
    ['{input.a..b}', 'an empty key in the middle'],
    ['{input a}', 'a blank'],
    ['x{input.a}{input.{input.b}}', 'one in another']
  ])('are refused in the configuration when they are malformed: %s (%s)', argument => {
    expect(() => parseArgvTemplate(['p', argument])).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }))
  })

  test('may not choose the program', () => {
    expect(() => parseArgvTemplate(['{input.program}'])).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }))
    expect(() => parseArgvTemplate(['/bin/{input}'])).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }))
  })

  test.each([
    ['a missing key', {}],
    ['null', { a: null }],
    ['an object', { a: {} }],
    ['a list', { a: [1] }],
    ['a NUL character', { a: 'x\0y' }],
    ['half of a surrogate pair', { a: '\ud800' }],
    ['an input that is no object', 7],
    ['no input', null]
  ])('fail for %s', (_, input) => {
    expect(() => fill(['p', '{input.a}'], input)).toThrow(expect.objectContaining({ code: 'INVALID_INPUT' }))
  })

  test.each(['constructor', '__proto__', 'toString', 'length'])('do not reach what is no input: %s', key => {
    for (const value of ['text', ['list'], {}]) {
      expect(() => fill(['p', `{input.a.${key}}`], { a: value })).toThrow('has no value')
    }
  })

  test('take keys by any name that is in the input', () => {
    expect(fill(['p', '{input.__proto__}', '{input.a-b}'], JSON.parse('{"__proto__":"own","a-b":"c"}'))).toEqual([
      'own',
      'c'
    ])
  })
})

test('the number of arguments never changes and values arrive as they are', () => {
  const piece = fc.oneof(
    argumentText.map(text => ({ template: text.replaceAll('{input', '{'), key: undefined })),
    fc.constantFrom('a', 'b').map(key => ({ template: `{input.${key}}`, key }))
  )
  fc.assert(
    fc.property(
      fc.array(fc.array(piece, { maxLength: 4 }), { maxLength: 6 }),
      argumentText,
      argumentText,
      (items, a, b) => {
        const values: Record<string, string> = { a, b }
        const templates = items.map(pieces => pieces.map(each => each.template).join(''))
        // Two texts may join to the beginning of a placeholder, which is then refused or another template.
        fc.pre(items.every((pieces, index) => count(templates[index] ?? '') === pieces.filter(each => each.key).length))
        const expected = items.map(pieces =>
          pieces.map(each => (each.key ? (values[each.key] ?? '') : each.template)).join('')
        )
        expect(fill(['program', ...templates], values)).toEqual(expected)
      }
    )
  )
})

test('values are not read for placeholders again', () => {
  expect(fill(['p', '{input.a}'], { a: '{input.b}', b: 'no' })).toEqual(['{input.b}'])
})

test('an argument has at most ARGUMENT_BYTES_MAX', () => {
  expect(fill(['p', '{input}'], 'ä'.repeat((ARGUMENT_BYTES_MAX - 1) / 2))).toHaveLength(1)
  expect(() => fill(['p', '{input}'], 'ä'.repeat((ARGUMENT_BYTES_MAX + 1) / 2))).toThrow('longer than')
})

test('a command has a program and at most COMMAND_ARGUMENTS_MAX items, none with NUL', () => {
  expect(() => parseArgvTemplate([])).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }))
  expect(() => parseArgvTemplate([''])).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }))
  expect(() => parseArgvTemplate(['p', 'a\0b'])).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }))
  expect(parseArgvTemplate(Array(COMMAND_ARGUMENTS_MAX).fill('x')).arguments).toHaveLength(COMMAND_ARGUMENTS_MAX - 1)
  expect(() => parseArgvTemplate(Array(COMMAND_ARGUMENTS_MAX + 1).fill('x'))).toThrow('at most')
})

function count(template: string): number {
  return template.split('{input').length - 1
}
