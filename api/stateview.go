package api

import (
	"context"
	"fmt"

	"github.com/drover-io/drover/state"
)

const routeState = "operator.state"

// StateView is what the server that answered holds, in figures. Two servers at the same Index hold the same: the same rows, and
// the same hashes.
type StateView struct {
	NodeID string
	Index  uint64 // of the last log entry applied
	Tables []TableView
}

// TableView is one table of the state.
type TableView struct {
	Name string
	Rows int
	Hash string // hexadecimal, of all rows; independent of their order
}

// Rows is how many rows a table has.
func (v *StateView) Rows(table string) int {
	for _, t := range v.Tables {
		if t.Name == table {
			return t.Rows
		}
	}
	return 0
}

func stateRoutes() []Route {
	return []Route{{
		Name: routeState, Method: get, Path: "/v1/operator/state", Capability: CapOperatorRead, Where: AtLeader, Stale: true, Blocking: true,
		handler: read(readState, watchState),
		Doc:     "count and hash the rows of every table; with ?stale of the server that is asked, to compare servers",
	}}
}

func readState(c *call, snap *state.Snapshot) (*StateView, error) {
	v := &StateView{NodeID: c.s.self().NodeID, Index: snap.Index()}
	for _, t := range snap.Tables() {
		v.Tables = append(v.Tables, TableView{Name: t.Table.String(), Rows: t.Rows, Hash: fmt.Sprintf("%016x", t.Hash)})
	}
	return v, nil
}

func watchState(*call) watchFor {
	return watchFor{keys: []state.Key{state.KeyIndex()}, changed: func(*state.Snapshot, uint64) bool { return true }}
}

// State counts and hashes what a server holds: the leader, or with QueryOptions.Stale the one that is asked.
func (c *Client) State(ctx context.Context, q QueryOptions) (*StateView, QueryMeta, error) {
	return readInto[*StateView](ctx, c, routeState, "", q, nil)
}
