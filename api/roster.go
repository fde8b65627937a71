package api

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"time"

	"github.com/drover-io/drover/state"
)

// allEvery is how many lease periods pass between two polls that name everything: they find what no answer speaks of, such as the
// directory of an allocation whose row was removed long after it had ended.
const allEvery = 60

// Roster is a node's side of its polls: what it was told of its allocations, and up to which state. As long as that comes to what the
// servers say, a poll asks only what has changed; otherwise, and now and then, it names everything. The zero value is that of an agent
// that has just started. It is not safe for use by several goroutines.
type Roster struct {
	since uint64               // index of the last answer; 0: the next poll names everything
	again time.Time            // when the next poll names everything in any case
	told  map[string]toldAlloc // those to run
	done  map[string]struct{}  // those that answers spoke of otherwise
	sum   state.Digest         // of told
}

// toldAlloc is what a Roster knows of an allocation that is to run.
type toldAlloc struct {
	created uint64 // CreateIndex of its row
	ended   bool   // by the node's own word, which is in the log; the servers that answered did not know yet
}

// ErrRoster says that a node's allocations are not those that the servers have for it. The next poll names everything.
var ErrRoster = errors.New("what this node was told is not what the servers have for it")

// Reset has the next poll name everything.
func (r *Roster) Reset() { *r = Roster{} }

// Recheck has the next poll name everything, and keeps what was told until it is answered.
func (r *Roster) Recheck() { r.since = 0 }

// Ended notes that an allocation has ended and that the node's word of it is in the log. A server that has not read it yet may call it
// one to run for a while: it is not begun again.
func (r *Roster) Ended(id string) {
	if a, ok := r.told[id]; ok {
		a.ended = true
		r.told[id] = a
	}
}

// Ask fills in what a poll asks: what has changed, or, when that is due or the machine holds others than it was told to, everything.
func (r *Roster) Ask(req *PollRequest, found iter.Seq[string], now time.Time) {
	if r.since != 0 && (now.After(r.again) || !r.matches(found)) {
		r.since = 0
	}
	req.Since, req.Told, req.Held = r.since, r.sum.Count, nil
	if r.since != 0 {
		return
	}
	for id := range found {
		req.Held = append(req.Held, HeldAlloc{ID: id, CreateIndex: r.told[id].created})
	}
}

// matches reports whether the machine holds everything that it is to run, and nothing that no answer spoke of.
func (r *Roster) matches(found iter.Seq[string]) bool {
	there := 0
	for id := range found {
		a, told := r.told[id]
		if _, done := r.done[id]; !told && !done {
			return false
		}
		if told && !a.ended {
			there++
		}
	}
	for _, a := range r.told {
		if !a.ended {
			there--
		}
	}
	return there == 0
}

// Told are the allocations that the node was told to run and whose end no server has confirmed.
func (r *Roster) Told() iter.Seq[string] { return maps.Keys(r.told) }

// Count is how many they are.
func (r *Roster) Count() int { return len(r.told) }

// Has reports whether the node was told to run the allocation.
func (r *Roster) Has(id string) bool {
	_, ok := r.told[id]
	return ok
}

// Hear takes note of an answer that is obeyed, and leaves out of it what has ended. ErrRoster is no reason not to obey: it says that the
// next poll names everything.
func (r *Roster) Hear(req *PollRequest, resp *PollResponse, now time.Time) error {
	if err := resp.whole(); err != nil {
		r.since = 0
		return err
	}
	if req.Since != r.since {
		return nil // it was reset meanwhile: the next poll names everything
	}
	if resp.NodeStatus == "" { // the server knows no such node: it said nothing of allocations
		r.since = 0
		return nil
	}
	if req.Since == 0 {
		r.hearAll(req, resp)
		period := max(resp.LeasePeriod, time.Second)
		r.again = now.Add(allEvery*period*3/4 + rand.N(allEvery*period/2))
	} else {
		r.hearSome(resp)
	}
	r.since = resp.Index
	if r.sum != resp.ToRun {
		r.since = 0
		return fmt.Errorf("at index %d: %w: told of %d, they have %d", resp.Index, ErrRoster, r.sum.Count, resp.ToRun.Count)
	}
	return nil
}

// hearAll takes an answer about everything: whatever it does not name is neither here nor there.
func (r *Roster) hearAll(req *PollRequest, resp *PollResponse) {
	old := r.told
	r.told, r.done, r.sum = make(map[string]toldAlloc, len(resp.Keep)), map[string]struct{}{}, state.Digest{}
	created := make(map[string]uint64, len(req.Held))
	for _, h := range req.Held {
		created[h.ID] = h.CreateIndex
	}
	keep := resp.Keep[:0]
	for _, id := range resp.Keep {
		a := toldAlloc{created: created[id], ended: old[id].ended}
		r.tell(id, a)
		if !a.ended {
			keep = append(keep, id)
		}
	}
	resp.Keep = keep
	r.tellRuns(resp, old)
	r.tellRest(resp)
}

// hearSome takes an answer about what has changed.
func (r *Roster) hearSome(resp *PollResponse) {
	r.tellRuns(resp, r.told)
	r.tellRest(resp)
}

func (r *Roster) tellRuns(resp *PollResponse, old map[string]toldAlloc) {
	for i := range resp.Run {
		o := &resp.Run[i]
		ids, indexes := o.IDs[:0], o.Indexes[:0]
		for k, id := range o.IDs {
			a := toldAlloc{created: o.Alloc.CreateIndex, ended: old[id].ended}
			r.tell(id, a)
			if !a.ended {
				ids, indexes = append(ids, id), append(indexes, o.Indexes[k])
			}
		}
		o.IDs, o.Indexes = ids, indexes
	}
}

func (r *Roster) tellRest(resp *PollResponse) {
	for _, ids := range [][]string{resp.Stop, resp.Gone, resp.Over} {
		for _, id := range ids {
			if _, ok := r.told[id]; ok {
				delete(r.told, id)
				r.sum = r.sum.Without(id)
			}
			r.done[id] = struct{}{}
		}
	}
}

func (r *Roster) tell(id string, a toldAlloc) {
	if _, ok := r.told[id]; !ok {
		r.sum = r.sum.With(id)
	}
	r.told[id] = a
}

// whole reports whether every order says what it must.
func (resp *PollResponse) whole() error {
	for _, o := range resp.Run {
		if !o.Alloc.Whole() || len(o.IDs) != len(o.Indexes) {
			return errors.New("a server sent an order without its row or its indexes")
		}
	}
	return nil
}
