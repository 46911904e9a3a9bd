// The reader of transcripts itself: a document that shows something else than what was printed must not pass.
import { describe, expect, it } from 'vitest'
import { matchOutput, readSteps } from './transcript.ts'

const document = `Text.

\`\`\`console
$ one \\
  --more
first
$ two
\`\`\`

\`\`\`yaml shop.yaml
a: 1
\`\`\`

\`\`\`sh
$ not run
\`\`\`
`

describe('readSteps', () => {
  it('finds commands with their output, and files, and nothing else', () => {
    expect(readSteps(document)).toEqual([
      { kind: 'command', line: 4, text: 'one \\\n  --more', expected: ['first'] },
      { kind: 'command', line: 7, text: 'two', expected: [] },
      { kind: 'file', name: 'shop.yaml', text: 'a: 1\n' },
    ])
  })

  it('refuses an open block and output without a command', () => {
    expect(() => readSteps('```console\n$ a\n')).toThrow('line 1')
    expect(() => readSteps('```console\nx\n```\n')).toThrow('line 2')
  })
})

describe('matchOutput', () => {
  const differs: readonly (readonly [string, readonly string[], string])[] = [
    ['another line', ['a'], 'b\n'],
    ['a line more', ['a'], 'a\nb\n'],
    ['a line less', ['a', 'b'], 'a\n'],
    ['nothing where … stands', ['a …'], 'a \n'],
    ['text where nothing is shown', [], 'a\n'],
    ['two values for one name', ['$A $A'], 'x y\n'],
    ['another value than before', ['$KNOWN'], 'other\n'],
  ]
  it.each(differs)('sees %s', (_, expected, actual) => {
    expect(matchOutput(expected, actual, { KNOWN: 'value' })).toBeNull()
  })

  it('lets … stand for text, or for lines', () => {
    expect(matchOutput(['a … c', '…', 'z'], 'a b c\nx\ny\nz\n', {})).toEqual({})
    expect(matchOutput(['a', '…'], 'a\n', {})).toEqual({})
  })

  it('keeps values by name', () => {
    expect(matchOutput(['id  org/$A/key/$B', '$A'], 'id  org/1/key/2  \n1\n', { C: '3' })).toEqual({
      A: '1',
      B: '2',
      C: '3',
    })
  })
})
