// The response flags of an access log entry as the short names that Envoy's own logs show, joined by commas.
// A flag of a newer Envoy that has no row here is left out; nothing else is ever said.

/** Envoy, access log usage, `%RESPONSE_FLAGS%`, by field number of `envoy.data.accesslog.v3.ResponseFlags`. */
export const responseFlagNames: readonly (readonly [number, string])[] = [
  [2, 'UH'],
  [6, 'UF'],
  [8, 'UO'],
  [9, 'NR'],
  [16, 'URX'],
  [25, 'NC'],
  [23, 'DT'],
  [15, 'DC'],
  [1, 'LH'],
  [3, 'UT'],
  [4, 'LR'],
  [5, 'UR'],
  [7, 'UC'],
  [10, 'DI'],
  [11, 'FI'],
  [12, 'RL'],
  [13, 'UAEX'],
  [14, 'RLSE'],
  [17, 'SI'],
  [18, 'IH'],
  [19, 'DPE'],
  [20, 'UMSDR'],
  [21, 'RFCF'],
  [22, 'NFCF'],
  [24, 'UPE'],
  [26, 'OM'],
  [27, 'DF'],
  [28, 'DR'],
]

/** @param flags bits by field number. @returns e.g. `UF,URX`; '' where Envoy's log shows `-` */
export function responseFlagsText(flags: number): string {
  if (flags === 0) return ''
  return responseFlagNames.flatMap(([field, name]) => ((flags & (1 << field)) === 0 ? [] : [name])).join()
}
