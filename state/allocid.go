package state

import (
	"crypto/sha256"
	"encoding/binary"
)

// AllocID is the ID of copy number copy of record number record of the plan with this seed, in the layout of a UUID version 8
// (RFC 9562 §5.8): everybody who knows the plan knows its IDs before it is applied.
func AllocID(seed [16]byte, record, copy int) string {
	var in [32]byte
	n := len(append(in[:0], seed[:]...))
	binary.BigEndian.PutUint64(in[n:], uint64(record))
	binary.BigEndian.PutUint64(in[n+8:], uint64(copy))
	id := sha256.Sum256(in[:])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return uuidText(id[:idBytes])
}
