package state

import (
	"crypto/sha256"
	"encoding/binary"
)

// AllocID is the ID of the copy that stands at position n among all copies of the plan with this seed, those that are only stopped
// included, in the layout of a UUID version 8 (RFC 9562 §5.8): everybody who knows the plan knows its IDs before it is applied. The first
// eight digits count, the others are the same for all copies of a plan.
func AllocID(seed [16]byte, n int) string { return firstID(seed).plus(n).String() }

func firstID(seed [16]byte) idKey {
	id := sha256.Sum256(seed[:])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return idKey{binary.BigEndian.Uint64(id[:]), binary.BigEndian.Uint64(id[8:])}
}
