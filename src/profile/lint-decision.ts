// `order`, `ip_rule`, `ip_open`: the order of the checks and what addresses a key may be bound to.
import { parseEntry } from '../core/address.ts'
import { cidrText } from '../core/cidr.ts'
import { checkSteps } from '../core/reason.ts'
import type { FieldPath } from './finding.ts'
import { lintRule } from './lint-rule.ts'
import type { Report } from './parse-document.ts'

/** The steps that a profile may put in another order; those before them are fixed. */
const FIXED_STEPS = 3
/** Characters of a label of an allowlist entry. */
const LABEL_LENGTH_MAX = 256

export const lintDecision = [
  lintRule(['checks'], ({ checks }, report) => {
    const fixed = checkSteps.slice(0, FIXED_STEPS)
    const isPermutation = checks.length === checkSteps.length && checkSteps.every(step => checks.includes(step))
    const keepsStart = fixed.every((step, index) => checks[index] === step)
    if (isPermutation && keepsStart) return
    const free = checkSteps.slice(FIXED_STEPS).join(', ')
    report(
      'order',
      ['checks'],
      `\`checks\` must be ${fixed.join(', ')}, then ${free} in any order, each once; correct the list`,
    )
  }),
  lintRule(['ip_rules'], ({ ip_rules: rules }, report) => {
    lintPrefix(rules.min_prefix.v4, 32, ['ip_rules', 'min_prefix', 'v4'], report)
    lintPrefix(rules.min_prefix.v6, 128, ['ip_rules', 'min_prefix', 'v6'], report)
    if (rules.labels.max_length > LABEL_LENGTH_MAX) {
      report(
        'ip_rule',
        ['ip_rules', 'labels', 'max_length'],
        `\`max_length\` is ${rules.labels.max_length}; set at most ${LABEL_LENGTH_MAX}`,
      )
    }
    for (const [index, range] of rules.private_ranges.entries())
      lintRange(range, ['ip_rules', 'private_ranges', index], report)
  }),
] as const

function lintPrefix(prefix: number | null, bits: number, at: FieldPath, report: Report): void {
  if (prefix === null) {
    report(
      'ip_open',
      at,
      'without a minimum an entry may match every address; set one, or keep null if the product allows that',
    )
  } else if (prefix < 0 || prefix > bits) {
    report('ip_rule', at, `a prefix of ${prefix} bits does not exist; set 0 to ${bits}, or null`)
  }
}

function lintRange(range: string, at: FieldPath, report: Report): void {
  const entry = parseEntry(range)
  if (entry === null) {
    report('ip_rule', at, `\`${range.slice(0, 64)}\` is no address block; write e.g. 10.0.0.0/8 or fc00::/7`)
  } else if (entry.spansMapped) {
    report(
      'ip_rule',
      at,
      `\`${range}\` covers ::ffff:0:0/96, which stands for IPv4; write the IPv4 block or a narrower one`,
    )
  } else if (cidrText(entry.block) !== range) {
    report('ip_rule', at, `\`${range}\` is not canonical; write ${cidrText(entry.block)}`)
  }
}
