package api

import (
	"errors"
	"fmt"
	"io"

	"github.com/drover-io/drover/state"
)

// peerNamed is the server that ?id or ?address names, "" when neither is given.
func (c *call) peerNamed() (string, error) {
	id, addr := c.query.Get("id"), c.query.Get("address")
	if id != "" && addr != "" {
		return "", NewError(CodeInvalid, "", "give id or address, not both")
	}
	if id == "" && addr == "" {
		return "", nil
	}
	for _, p := range c.s.b.Cluster.RaftPeers() {
		if id != "" && p.ID == id || addr != "" && p.Address == addr {
			return p.ID, nil
		}
	}
	return "", NewError(CodeNotFound, "list them with `drover operator raft list-peers`", "the Raft configuration has no server %s", firstOf(id, addr))
}

// heirs says why leadership cannot go to a server, or to any when id is "".
func (c *call) heirs(id string) error {
	voters, found := 0, false
	for _, p := range c.s.b.Cluster.RaftPeers() {
		if p.Voter {
			voters++
		}
		found = found || p.ID == id
	}
	switch {
	case id != "" && !found:
		return NewError(CodeNotFound, "list them with `drover operator raft list-peers`", "the Raft configuration has no server %s", id)
	case voters < 2:
		return NewError(CodeConflict, "start another server first", "no other server has a vote")
	}
	return nil
}

func removePeer(c *call) (*WriteResponse, error) {
	id, err := c.peerNamed()
	if err != nil {
		return nil, err
	}
	if id == "" {
		return nil, NewError(CodeInvalid, "add ?id=ID or ?address=HOST:PORT", "no server is named")
	}
	if err := c.s.b.Operator.RemovePeer(c.ctx, id); err != nil {
		return nil, err
	}
	return &WriteResponse{Index: c.s.b.State.Snapshot().Index(), RequestID: c.requestID}, nil
}

// namesHeir reports whether a transfer names the server that is to lead: then doing it twice is doing it once.
func namesHeir(c *call) bool {
	var req TransferRequest
	return c.query.Get("id") != "" || c.query.Get("address") != "" || decodeStrict(c.body, &req) == nil && req.ID != ""
}

func transferLeadership(c *call, req *TransferRequest) (*WriteResponse, error) {
	id, err := c.peerNamed()
	if err != nil {
		return nil, err
	}
	if id != "" && req.ID != "" && id != req.ID {
		return nil, NewError(CodeInvalid, "", "the query names server %s, the body %s", id, req.ID)
	}
	heir := firstOf(id, req.ID)
	if err := c.heirs(heir); err != nil {
		return nil, err
	}
	if heir != c.s.self().NodeID { // it leads already: perhaps this is the second try of what the first one did
		if err := c.s.b.Operator.TransferLeadership(c.ctx, heir); err != nil {
			return nil, err
		}
	}
	return &WriteResponse{Index: c.s.b.State.Snapshot().Index(), RequestID: c.requestID}, nil
}

// saveSnapshot streams the whole state. The file is framed, counted and checksummed: a stream that was cut off is recognized.
func saveSnapshot(c *call) error {
	snap, err := c.snapshot(nil)
	if err != nil {
		return err
	}
	c.index = snap.Index()
	h := c.w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", fmt.Sprintf(`attachment; filename="drover-%d.snap"`, snap.Index()))
	c.mark(h)
	return snap.Backup(c.w)
}

func restoreSnapshot(c *call) error {
	size := c.r.ContentLength
	if size < 0 {
		return NewError(CodeLength, "send the file with its length", "the length of the snapshot is not known")
	}
	if size == 0 {
		return NewError(CodeInvalid, "", "the body has no snapshot")
	}
	body := &bodyReader{r: c.in}
	if err := c.s.b.Operator.RestoreSnapshot(c.ctx, body, size); err != nil {
		if body.err != nil {
			return c.bodyError(body.err)
		}
		if errors.Is(err, state.ErrCorrupt) {
			return NewError(CodeInvalid, "look at it with `drover operator snapshot inspect`", "restore the snapshot: %s", err)
		}
		return err
	}
	c.index = c.s.b.State.Snapshot().Index()
	return c.reply(&WriteResponse{Index: c.index})
}

// bodyReader remembers why reading failed: a body that broke off is the sender's fault, not the snapshot's.
type bodyReader struct {
	r   io.Reader
	err error
}

// Read reads.
func (r *bodyReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

func readEvictions(c *call) (*EvictionsView, error) {
	v := c.s.b.Decider.Guard()
	return &v, nil
}

func allowEvictions(c *call) (*WriteResponse, error) {
	return c.written(state.AllowEvictions{RequestID: c.requestID, Time: c.s.b.Now()})
}
