// How one API key lies in the table: 19 words, 76 octets. Only layout; what the words mean to a decision is in key-table.ts.
// Rotated keys need two more facts, which stand in a row of their own so that the others do not pay for them.

/** Words of a row. */
export const rowWords = 19
/** The digest: 8 words, most significant first. */
export const DIGEST = 0
/** The UUID of the id: 4 words. */
export const UUID = 8
/** Instant of expiry as a float64, Infinity for never. */
export const EXPIRE = 12
/** Number in `Organizations`, or `NO_ORGANIZATION`. */
export const ORGANIZATION = 14
/** Number in the pool: what keys have in common (see GRANT_*), 0 for an invalid key. */
export const GRANT = 15
/** Number in the pool of the packed allowlist; 0: none. */
export const ALLOWLIST = 16
/** Flag bits below, the number of the rotation row (0: none) above `rotationShift`. */
export const STATE = 17
/** Changes with every write to the slot. */
export const STAMP = 18

export const NO_ORGANIZATION = -1

/** The KEY_* bits that a row itself carries. */
export const flagMask = 0x2f
/** Which pepper the digest was made with. */
export const pepperShift = 6
export const pepperMask = 3
export const rotationShift = 8
/** Rotation rows have 24 bits: 16.7 million keys in or after a rotation. */
export const rotationMax = 2 ** 24 - 1

/** Values of the pepper bits: the row is invalid and does not say; the primary; the second; one this process lacks. */
export const PEPPER_NONE = 0
export const PEPPER_PRIMARY = 1
export const PEPPER_SECOND = 2
export const PEPPER_UNKNOWN = 3

/** Words of a grant: shape of the id and environment (16 bits each), scope set, own limit or -1, its window as a float64. */
export const GRANT_NAMES = 0
export const GRANT_SCOPES = 1
export const GRANT_LIMIT = 2
export const GRANT_WINDOW = 3
export const grantWords = 5
export const environmentShift = 16
/** Largest shape and environment number that 16 bits hold; more of either come from no profile. */
export const nameMax = 0xffff

/** Words of a rotation row: grace end as a float64, the UUID of the lineage; free rows are linked through the first. */
export const GRACE = 0
export const LINEAGE = 2
export const rotationWords = 6
