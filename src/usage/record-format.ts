// How usage records stand in a spool. A record is a head of fixed length and a tail. Where the head has a place of octets,
// they stand in the tail, or in a record before it in the same frame that had the same ones: a frame explains itself, and
// what its requests have in common is in it once. Storing a record writes it out as a row; see batch.ts.
// Records of one batch and lane make a frame with length, CRC-32 and sequence; frames make a segment file with a header.
// Their numbers are big-endian, those of records little-endian. A change needs new magics: builds keep what they do not know.

/** Offsets in a record's head. Its length in octets is a multiple of 4. */
export const recordLengthAt = 0
/** HTTP status of a denial, int32. */
export const statusAt = 4
/** Microseconds since PostgreSQL's epoch, float64. */
export const timeAt = 8
/** UUID of 16 octets. */
export const decisionIdAt = 16

/**
 * From here on places (`placeOf`) of octets. The first two hold several columns in PostgreSQL's binary form, each with its
 * length in front; addresses are 4 or 16 octets, all else is a text.
 */
export const ruleAt = 32
export const outcomeAt = 36
export const environmentAt = 40
export const organizationIdAt = 44
export const apiKeyIdAt = 48
export const clientIpAt = 52
export const directIpAt = 56
export const methodAt = 60
export const hostAt = 64
export const pathAt = 68
export const userAgentAt = 72
export const requestIdAt = 76
export const supportIdAt = 80
export const recordHeadLength = 84

/** Octets somewhere in a frame: their length in the upper 12 bits, their offset from the frame's start below. 0: none. */
export const placeLengthShift = 20
export const placeOffsetMask = 0xf_ffff

/** Columns that a record has values for, in the order of `placeOf`. A stored row has the sidecar and the access-log half besides. */
export const recordColumns = [
  'time',
  'decision_id',
  'profile',
  'route',
  'required_scope',
  'client_ip_mode',
  'decision',
  'reason',
  'status',
  'environment',
  'organization_id',
  'api_key_id',
  'client_ip',
  'direct_ip',
  'method',
  'host',
  'path',
  'user_agent',
  'request_id',
  'support_id',
] as const

/** Columns in the octets at `ruleAt`: profile, route, required_scope, client_ip_mode. */
export const ruleColumns = 4
/** And at `outcomeAt`: decision, reason. */
export const outcomeColumns = 2

export const uuidOctets = 16

/** Octets of one record at most: the bounds of usage-row.ts, ids of 256 octets, and the head. */
export const recordLengthMax = 4096

/** Allowed and denied requests are kept apart, so that the oldest allowed ones can go first, file by file. */
export const lanes = [1, 2] as const
export type Lane = (typeof lanes)[number]
export const allowedLane: Lane = 1
export const deniedLane: Lane = 2

/** `GWU2`: frame with records of format 2. Format 1 was never in a release. */
export const frameMagic = 0x47_57_55_32
/** magic, length of what follows the header, CRC-32 of all that follows the CRC, records, sequence (float64) of the first. */
export const frameHeaderLength = 24
export const frameLengthAt = 4
export const frameCrcAt = 8
export const frameCountAt = 12
export const frameSequenceAt = 16
/** Octets of one frame at most: a batch that holds more is written as several. */
export const frameLengthMax = 65_536

/** `GWS2`. */
export const segmentMagic = 0x47_57_53_32
/** magic, lane, number, sequence (float64) of the first record, wall clock at its start (float64, Unix ms), CRC-32. */
export const segmentHeaderLength = 32
export const segmentLaneAt = 4
export const segmentNumberAt = 8
export const segmentSequenceAt = 12
export const segmentTimeAt = 20
export const segmentCrcAt = 28

/** Microseconds from the Unix epoch to PostgreSQL's, 2000-01-01. */
export const postgresEpochUnixMs = 946_684_800_000
