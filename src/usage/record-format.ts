// How usage records stand in a spool. A record is a row in PostgreSQL's binary COPY form, so that storing it is copying
// octets: `int32 size`, then the values of `recordColumns` in order, each `int32 length` (-1: NULL) and its octets.
// Records of one batch and lane make a frame with length, CRC-32 and sequence; frames make a segment file with a header.
// All numbers are big-endian. A change of any of this needs a new format number, since old spools are read by new builds.

/** Columns of a record, in order. The stored row has the sidecar and the access-log half besides. */
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

export type RecordColumn = (typeof recordColumns)[number]

/** Offsets in a record, its size included: the first two values have fixed lengths. */
export const recordTimeAt = 8
export const decisionIdAt = 20
export const uuidOctets = 16

/** Octets of one record at most: the bounds of usage-row.ts, ids of 256 octets, and all lengths. */
export const recordLengthMax = 4096

/** Allowed and denied requests are kept apart, so that the oldest allowed ones can go first, file by file. */
export const lanes = [1, 2] as const
export type Lane = (typeof lanes)[number]
export const allowedLane: Lane = 1
export const deniedLane: Lane = 2

/** `GWU1`: frame with records of format 1. */
export const frameMagic = 0x47_57_55_31
/** magic, length of what follows the header, CRC-32 of all that follows the CRC, records, sequence (float64) of the first. */
export const frameHeaderLength = 24
export const frameLengthAt = 4
export const frameCrcAt = 8
export const frameCountAt = 12
export const frameSequenceAt = 16
/** Octets of one frame at most: a batch that holds more is written as several. */
export const frameLengthMax = 65_536

/** `GWS1`. */
export const segmentMagic = 0x47_57_53_31
/** magic, lane, number, sequence (float64) of the first record, wall clock at its start (float64, Unix ms), CRC-32. */
export const segmentHeaderLength = 32
export const segmentLaneAt = 4
export const segmentNumberAt = 8
export const segmentSequenceAt = 12
export const segmentTimeAt = 20
export const segmentCrcAt = 28

/** Microseconds from the Unix epoch to PostgreSQL's, 2000-01-01. */
export const postgresEpochUnixMs = 946_684_800_000
