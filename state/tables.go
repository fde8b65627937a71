package state

// TableState is how one table of a Snapshot stands.
type TableState struct {
	Table Table
	Rows  int
	Hash  uint64 // commutative, of all rows
}

// Tables says of every table how many rows it has and what they hash to. It costs the same however many rows there are.
func (s *Snapshot) Tables() []TableState {
	rows := [numTables]int{
		TableMeta:        1,
		TableJobs:        s.jobs.rows.Len(),
		TableJobVersions: s.versions.rows.Len(),
		TableNodes:       s.nodes.rows.Len(),
		TableAllocs:      s.AllocCount(),
		TableRequests:    s.requests.rows.Len(),
		TableNodePools:   s.pools.rows.Len(),
		TableImages:      s.images.rows.Len(),
	}
	out := make([]TableState, numTables)
	for i, hash := range s.Hash() {
		out[i] = TableState{Table: Table(i), Rows: rows[i], Hash: hash}
	}
	return out
}
