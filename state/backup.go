package state

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
)

// Backup writes the state as an operator keeps it: everything that the cluster knows, and nothing of how its log came there. Term,
// restore generation and epoch are left out, index and cluster time are those of the newest row. So the file of a cluster that was
// restored from a file is the same, byte for byte.
func (s *Snapshot) Backup(w io.Writer) error {
	c := *s
	c.meta.LeadTerm, c.meta.LeadIndex, c.meta.LeadNode = 0, 0, ""
	c.meta.Generation, c.meta.Epoch = 0, ""
	c.index, c.meta.LatestTime = s.newest()
	return c.Save(w)
}

// newest is the largest index and the largest cluster time in any row.
func (s *Snapshot) newest() (index uint64, at int64) {
	at = s.meta.EvictionsAllowedAt
	see := func(indexes []uint64, times ...int64) {
		for _, i := range indexes {
			index = max(index, i)
		}
		for _, t := range times {
			at = max(at, t)
		}
	}
	for _, jobs := range []table[Job]{s.jobs, s.versions} {
		for j := range jobs.all() {
			see([]uint64{j.CreateIndex, j.ModifyIndex, j.JobModifyIndex}, j.SubmitTime)
			if j.Blocked != nil {
				see(nil, j.Blocked.Since)
			}
		}
	}
	for n := range s.nodes.all() {
		see([]uint64{n.CreateIndex, n.ModifyIndex, n.Generation}, n.StatusUpdatedAt)
		see(nil, n.Returns...)
	}
	for a := range s.allocs.all() {
		see([]uint64{a.CreateIndex, a.ModifyIndex}, a.CreateTime, a.ClientModifyTime)
		for _, e := range a.RescheduleEvents {
			see(nil, e.Time)
		}
	}
	for q := range s.requests.all() {
		see([]uint64{q.Index})
	}
	for p := range s.pools.all() {
		see([]uint64{p.CreateIndex, p.ModifyIndex})
	}
	if c := s.meta.Scheduler; c != nil {
		see([]uint64{c.CreateIndex, c.ModifyIndex})
	}
	return index, at
}

// ReadSnapshot reads a whole snapshot file into a state of its own, or says why it is refused.
func ReadSnapshot(r io.Reader) (*Snapshot, error) { return readSnapshot(r) }

// maxRestoredIndex keeps a forged file from using up the log's indexes.
const maxRestoredIndex = uint64(1) << 62

// foreignNode is the description of a machine of another cluster, known only from its backup.
const foreignNode = "belongs to cluster %s, whose backup was restored here; this cluster never speaks to it"

// Adopt returns the state that a cluster, whose state now is s, has after an operator restored a backup as generation, which must be
// above both. The cluster stays who it is: its name, its epoch, and its time, which never goes back.
//
// A backup of this cluster's is taken as it is. One of another cluster brings that cluster's jobs and the record of where they ran;
// its machines stay its own. They are down here for good, nobody here has their addresses, and the machines of this cluster are the
// ones to run the jobs.
func (s *Snapshot) Adopt(backup *Snapshot, generation uint64) (*Snapshot, error) {
	switch {
	case generation <= s.meta.Generation || generation <= backup.meta.Generation:
		return nil, fmt.Errorf("restore the backup: generation %d is not above the cluster's %d and the file's %d: %w",
			generation, s.meta.Generation, backup.meta.Generation, ErrInvalid)
	case backup.meta.Level > s.meta.Level:
		return nil, fmt.Errorf("restore the backup: it is of level %d, this cluster is at level %d, which rises once every server runs a newer version: %w",
			backup.meta.Level, s.meta.Level, ErrLevel)
	case backup.index > maxRestoredIndex || backup.meta.LatestTime > maxTime || backup.meta.LatestTime < 0:
		return nil, fmt.Errorf("restore the backup: index %d or time %d is out of range: %w", backup.index, backup.meta.LatestTime, ErrCorrupt)
	}
	next := backup.clone()
	if backup.meta.ClusterID != s.meta.ClusterID {
		next.takeOver(s, backup.meta.ClusterID)
	}
	// The level is the file's: raising it anew does what belongs to it.
	next.meta.ClusterID, next.meta.Epoch, next.meta.Generation = s.meta.ClusterID, s.meta.Epoch, generation
	// Nobody has led this state: the leader begins its term anew.
	next.meta.LeadTerm, next.meta.LeadIndex, next.meta.LeadNode = 0, 0, ""
	next.meta.LatestTime = max(backup.meta.LatestTime, s.meta.LatestTime)
	return next, nil
}

// takeOver puts the machines of a cluster in the place of those of another one, whose backup the receiver is. Node pools that the
// machines are in stay.
func (s *Snapshot) takeOver(from *Snapshot, owner string) {
	at := max(s.meta.LatestTime, from.meta.LatestTime)
	theirs := s.nodes.clone()
	for n := range theirs.all() {
		f := *n
		f.PeerAddr, f.HTTPAddr, f.HostIP = "", "", ""
		f.Eligibility = NodeIneligible
		if f.Status != NodeStatusDown {
			f.Status, f.StatusUpdatedAt = NodeStatusDown, at
		}
		f.StatusDescription = fmt.Sprintf(foreignNode, owner)
		s.nodes.put(f.ID, &f)
	}
	for n := range from.nodes.all() {
		s.nodes.put(n.ID, n)
	}
	for p := range from.pools.all() {
		if s.pools.get(p.Name) == nil {
			s.pools.put(p.Name, p)
		}
	}
	s.index = max(s.index, from.index)
	s.meta.EvictionsAllowedAt = from.meta.EvictionsAllowedAt
}

// Recovered is the state as the beginning of a new history: its log was cut off from the servers that replicated it, and may lack
// what they had. Nodes learn by the generation, which must be above the state's, that they may know more than it does; servers with
// a log of the old history learn by the epoch that theirs is over.
func (s *Snapshot) Recovered(epoch string, generation uint64) *Snapshot {
	c := *s
	c.meta.Generation = generation
	if c.meta.Level >= 2 {
		c.meta.Epoch = epoch
	}
	c.meta.LeadTerm, c.meta.LeadIndex, c.meta.LeadNode = 0, 0, ""
	return &c
}

// Describe says in a few words what an entry of the log does, for a human who must decide about it.
func Describe(data []byte) string {
	cmd, err := Decode(data)
	if err != nil {
		return "an entry that this version cannot read"
	}
	text := cmd.kind()
	if r, ok := cmd.(requested); ok {
		if _, object := r.request(); object != "" {
			text += " of " + object
		}
	}
	switch c := cmd.(type) {
	case ApplyPlan:
		text += fmt.Sprintf(", %d groups of copies", len(c.Records))
	case Report:
		text += fmt.Sprintf(" of %d nodes", len(c.Nodes))
	case RegisterNode:
		if c.Node != nil {
			text += " " + truncate(c.Node.Name, maxNameBytes)
		}
	}
	return text
}

// RecordCount is how much of a snapshot file the rows of one kind take.
type RecordCount struct {
	Kind  string
	Count int
	Bytes int64
}

// CountRecords says what a snapshot file is made of, kind by kind in the order of the file. It refuses what is cut or altered; that
// the rows are right only ReadSnapshot says.
func CountRecords(r io.Reader) ([]RecordCount, error) {
	f := frameReader{r: bufio.NewReaderSize(r, 1<<16)}
	var out []RecordCount
	for {
		rec, err := f.read()
		if err != nil {
			return nil, fmt.Errorf("read the snapshot: %w", err)
		}
		kind, count := rec.Kind, 1
		if kind == recordCopies {
			var c struct{ Count int }
			if err := json.Unmarshal(rec.Row, &c); err != nil {
				return nil, fmt.Errorf("read the snapshot: %w", f.corrupt("%v", err))
			}
			kind, count = TableAllocs.String(), c.Count
		}
		if len(out) == 0 || out[len(out)-1].Kind != kind {
			out = append(out, RecordCount{Kind: kind})
		}
		last := &out[len(out)-1]
		last.Count += count
		last.Bytes += int64(len(rec.Row))
		if rec.Kind == recordTrailer {
			return out, nil
		}
	}
}
