package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

// auditEvery is how often a server compares its hashes with the others'.
const auditEvery = 20 * time.Second

// audit compares what this server holds with what the other voters hold at the same index, now and then. A server that differs
// from a majority must not go on: it exits, naming the table. Without a majority nobody exits; the alarm is in the log and the
// metrics.
func (s *server) audit(ctx context.Context) error {
	for {
		if err := pause(ctx, auditEvery); err != nil {
			return err
		}
		own := s.fsm.Readings()
		if len(own) == 0 {
			continue
		}
		others := map[string][]api.HashReading{}
		for id, addr := range s.voters() {
			if id == s.a.id.NodeID {
				continue
			}
			askCtx, cancel := context.WithTimeout(ctx, 2*time.Second)
			resp, err := s.a.peers.to(addr).Progress(askCtx)
			cancel()
			if err == nil {
				others[id] = resp.Readings
			}
		}
		s.judge(compareHashes(s.a.id.NodeID, own, others, len(s.voters())))
	}
}

// judge acts on a comparison.
func (s *server) judge(v hashVerdict) {
	if v.Index == 0 || len(v.Differs) == 0 {
		return
	}
	for id, tables := range v.Differs {
		s.log.Error("server holds another state than the others", "server", id, "index", v.Index, "tables", fmt.Sprint(tables), "majority", v.Majority)
	}
	s.a.metrics.divergence.Inc()
	if tables, own := v.Differs[s.a.id.NodeID]; own && v.Majority {
		s.log.Error("this server differs from the majority and exits; wipe its data directory and start it again", "tables", fmt.Sprint(tables))
		s.a.opts.Exit(1)
	}
}

// hashVerdict is what comparing the servers' hashes showed.
type hashVerdict struct {
	Index    uint64 // where they were compared; 0 when they had no common reading
	Majority bool   // a majority of the voters agrees
	Differs  map[string][]state.Table
}

// compareHashes compares the newest reading that every server has in common, and says who differs from the majority; without
// one, who differs from this server.
func compareHashes(self string, own []api.HashReading, others map[string][]api.HashReading, voters int) hashVerdict {
	at := func(rs []api.HashReading, index uint64) (state.Hashes, bool) {
		for _, r := range rs {
			if r.Index == index {
				return r.Hashes, true
			}
		}
		return state.Hashes{}, false
	}
	for i := len(own) - 1; i >= 0; i-- {
		index := own[i].Index
		all := map[string]state.Hashes{self: own[i].Hashes}
		for id, rs := range others {
			if h, ok := at(rs, index); ok {
				all[id] = h
			}
		}
		if len(all) < 2 || len(all) < len(others)+1 {
			continue
		}
		best, agree := mostCommon(self, all)
		v := hashVerdict{Index: index, Majority: agree > voters/2, Differs: map[string][]state.Table{}}
		for id := range all {
			if tables := all[id].Diff(all[best]); len(tables) > 0 {
				v.Differs[id] = tables
			}
		}
		return v
	}
	return hashVerdict{}
}

// mostCommon is a server whose hashes most servers share, and how many do; this server when it is among those.
func mostCommon(self string, all map[string]state.Hashes) (best string, agree int) {
	for id, h := range all {
		n := 0
		for _, other := range all {
			if len(h.Diff(other)) == 0 {
				n++
			}
		}
		if n > agree || (n == agree && id == self) {
			best, agree = id, n
		}
	}
	return best, agree
}
