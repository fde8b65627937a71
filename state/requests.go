package state

import (
	"fmt"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// maxRequests bounds the table of request results; the oldest goes first.
const maxRequests = 4096

// requestRow remembers what became of a user's command, so that a retry after an unknown outcome does not do it twice. Only
// successes are remembered: a refused command changed nothing and may be tried again.
type requestRow struct {
	ID       string
	Kind     string
	Object   string
	Index    uint64
	Register *RegisterJobResult `json:",omitempty"`
}

func lessByAge(a, b *requestRow) bool {
	if a.Index != b.Index {
		return a.Index < b.Index
	}
	return a.ID < b.ID
}

// recall returns the remembered result of a request.
func (t *tx) recall(kind string, req requested) (result any, known bool, err error) {
	id, object := req.request()
	if id == "" {
		return nil, false, nil
	}
	if len(id) > maxNameBytes {
		return nil, false, fmt.Errorf("request ID of %d bytes, at most %d: %w", len(id), maxNameBytes, ErrLimit)
	}
	row := t.next.requests.get(id)
	switch {
	case row == nil:
		return nil, false, nil
	case row.Kind != kind || row.Object != object:
		return nil, true, fmt.Errorf("request %s was %s of %s, it is now %s of %s; use a new request ID: %w",
			id, row.Kind, row.Object, kind, object, ErrConflict)
	case row.Register != nil:
		return *row.Register, true, nil
	}
	return Done{Index: row.Index}, true, nil
}

// Registered is what a registration with that request ID answered, while it is remembered; ok is false when there was none.
func (s *Snapshot) Registered(requestID string) (result RegisterJobResult, ok bool) {
	row := s.requests.get(requestID)
	if row == nil || row.Register == nil {
		return RegisterJobResult{}, false
	}
	return *row.Register, true
}

func (t *tx) remember(kind string, req requested, result any) {
	id, object := req.request()
	if id == "" {
		return
	}
	row := &requestRow{ID: strings.Clone(id), Kind: kind, Object: object, Index: t.index} // not with the text that the command was read from
	if r, ok := result.(RegisterJobResult); ok {
		r.Namespace, r.JobID = strings.Clone(r.Namespace), strings.Clone(r.JobID)
		row.Register = &r
	}
	t.next.indexRequest(row)
	for t.next.requestsByAge.Len() > maxRequests {
		oldest, _ := t.next.requestsByAge.PopMin()
		t.next.requests.remove(oldest.ID)
	}
}

func (s *Snapshot) indexRequest(row *requestRow) {
	s.requests.putHashed(row.ID, row, row.hash())
	s.requestsByAge.Set(row)
}

// hash hashes every field of the row, as that of an allocation does.
func (r *requestRow) hash() uint64 {
	var stack [512]byte
	b := hashText(stack[:0], r.ID, r.Kind, r.Object)
	b = hashFlag(hashNumber(b, int64(r.Index)), r.Register != nil)
	if g := r.Register; g != nil {
		b = hashText(b, g.Namespace, g.JobID)
		b = hashFlag(hashNumber(b, int64(g.Version), int64(g.JobModifyIndex)), g.Changed)
	}
	return xxhash.Sum64(b)
}
