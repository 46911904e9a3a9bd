// Which transport the suites run over: the default, or the one that CHECK_TRANSPORT names, so that one run can do both.

/** As settings of a process that answers checks. */
export function transportSettings(): Readonly<Record<string, string>> {
  const named = process.env['CHECK_TRANSPORT']
  return named === undefined ? {} : { GATEWARDEN_CHECK_TRANSPORT: named }
}
