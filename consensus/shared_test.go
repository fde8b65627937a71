package consensus

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"
)

// TestParcels: proposals come out of their entries as they went in, in their order, and no entry holds two of one key, one without a
// key beside others, or more than it may.
func TestParcels(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var round []*gathered
		for i := range rapid.IntRange(1, 3*sharedCommands).Draw(t, "proposals") {
			key := rapid.SampledFrom([]string{"", "a", fmt.Sprint(i), fmt.Sprint(i)}).Draw(t, "key")
			size := rapid.SampledFrom([]int{0, 1, 200, gatherBytes}).Draw(t, "size")
			round = append(round, &gathered{key: key, data: bytes.Repeat([]byte{byte(i)}, size)})
		}
		var order []*gathered
		for _, p := range parcels(round) {
			order = append(order, p.shared...)
			got := commands(&p.entry)
			if len(got) != len(p.shared) || len(p.shared) > sharedCommands || len(p.shared) > 1 && len(p.entry.Data) > sharedBytes {
				t.Fatalf("%d commands and %d bytes of %d proposals", len(got), len(p.entry.Data), len(p.shared))
			}
			keys := map[string]bool{}
			for i, data := range got {
				of := p.shared[i]
				if !bytes.Equal(data, of.data) || keys[of.key] || of.key == "" && len(got) > 1 {
					t.Fatalf("command %d of key %q has %d bytes, want %d", i, of.key, len(data), len(of.data))
				}
				keys[of.key] = true
			}
		}
		if !slices.Equal(order, round) {
			t.Fatal("the order is another one")
		}
	})
}

// An entry whose sizes are not those of its data is one command.
func TestBrokenSizes(t *testing.T) {
	for _, sizes := range [][]byte{{1}, {1, 1, 1}, {200}, {0x80}, {2, 0, 1}, bytes.Repeat([]byte{0xff}, 11)} {
		if got := commands(&raft.Log{Data: []byte("ab"), Extensions: sizes}); len(got) != 1 || string(got[0]) != "ab" {
			t.Errorf("%v: %q", sizes, got)
		}
	}
}

// rounds is a gatherer whose entries are answered when the test says so.
type rounds struct {
	t    *testing.T
	g    gatherer
	wg   sync.WaitGroup
	land chan error

	mu   sync.Mutex
	sent int
	took []int // how many commands each entry has
}

func newRounds(t *testing.T) *rounds {
	r := &rounds{t: t, land: make(chan error)}
	r.g = gatherer{few: 1, full: 2 * gatherMany, pause: gatherPause, spawn: func(f func()) error {
		r.wg.Go(f)
		return nil
	}}
	return r
}

func (r *rounds) propose(count int) {
	for range count {
		r.sent++
		key := fmt.Sprint(r.sent)
		r.wg.Go(func() {
			got, _, err := r.g.propose(r.t.Context(), &gathered{key: key, data: []byte(key), apply: r.apply})
			if err != nil || got.Value != "did "+key {
				r.t.Errorf("%s was answered %v, %v", key, got.Value, err)
			}
		})
		synctest.Wait()
	}
}

func (r *rounds) apply(l raft.Log, _ time.Duration) raft.ApplyFuture {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.took = append(r.took, len(commands(&l)))
	return shared{entry: l, done: r.land}
}

func (r *rounds) expect(what string, want ...int) {
	r.t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.took, want) {
		r.t.Errorf("%s: entries of %v, want %v", what, r.took, want)
	}
}

// Each command counts towards the next snapshot: it is applied anew after a start.
func TestSharedCommandsGrowTheLog(t *testing.T) {
	m := &machine{fsm: &journal{}}
	l := joined([]*gathered{{key: "a", data: []byte("one")}, {key: "b", data: []byte("two")}})
	l.Index = 7
	if results := m.ApplyBatch([]*raft.Log{&l}); len(results) != 1 || !slices.Equal(results[0].([]any), []any{1, 2}) {
		t.Errorf("results %v", results)
	}
	if got, want := m.growth.now(), int64(2*(3+entryWeight)); got != want || m.applied.Load() != 7 {
		t.Errorf("the log grew by %d, want %d", got, want)
	}
}

// TestPause: a round of many is followed by a pause, in which those who were answered come again; one of few is not, and a full write
// does not wait for its end.
func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRounds(t)
		r.propose(1)
		r.propose(gatherMany)
		r.expect("the first flies", 1)
		r.land <- nil
		r.expect("after a round of one", 1, gatherMany)
		r.propose(1)
		r.land <- nil
		time.Sleep(gatherPause - 1)
		r.propose(2)
		r.expect("the pause is not over", 1, gatherMany)
		time.Sleep(1)
		r.expect("the pause is over", 1, gatherMany, 3)
		r.propose(gatherMany)
		r.land <- nil
		r.expect("after a round of few", 1, gatherMany, 3, gatherMany)
		r.land <- nil
		r.propose(2 * gatherMany)
		r.expect("a full write", 1, gatherMany, 3, gatherMany, 2*gatherMany)
		time.Sleep(time.Second)
		r.propose(1)
		r.land <- nil
		time.Sleep(gatherPause)
		r.expect("after it", 1, gatherMany, 3, gatherMany, 2*gatherMany, 1)
		r.land <- nil
		r.wg.Wait()
	})
}

// shared is the future of an entry that is answered when the test says so.
type shared struct {
	raft.ApplyFuture
	entry raft.Log
	done  chan error
}

func (s shared) Error() error { return <-s.done }

func (s shared) Index() uint64 { return 1 }

func (s shared) Response() any {
	var out []any
	for _, data := range commands(&s.entry) {
		out = append(out, "did "+string(data))
	}
	if len(out) == 1 {
		return out[0]
	}
	return out
}

// TestProposeShared: what is proposed together shares entries on every server and in every log, each proposal gets its own answer, and
// of one key none shares an index with another.
func TestProposeShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := bootstrapped(t, 3, nil)
		l := cl.leader()
		type proposal struct {
			key, text string
			got       Result
		}
		var all []*proposal
		for i := range 40 {
			p := &proposal{key: fmt.Sprint("k", i%25), text: fmt.Sprint("line ", i)}
			if i == 7 {
				p.text = "bad"
			}
			all = append(all, p)
		}
		before := l.Standing().LastIndex
		var wg sync.WaitGroup
		for _, p := range all {
			wg.Go(func() {
				var err error
				if p.got, err = l.ProposeShared(t.Context(), p.key, []byte(p.text)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		lines := cl.same()
		used := map[string]bool{}
		for _, p := range all {
			mine := fmt.Sprint(p.key, " at ", p.got.Index)
			if used[mine] {
				t.Errorf("two of %s", mine)
			}
			used[mine] = true
			if p.text == "bad" {
				if err, failed := p.got.Value.(error); !failed || !strings.Contains(err.Error(), "bad command") {
					t.Errorf("what the FSM refuses: %v", p.got.Value)
				}
			} else if n, ok := p.got.Value.(int); !ok || lines[n-1] != p.text {
				t.Errorf("%s was answered %v", p.text, p.got.Value)
			}
		}
		if entries := l.Standing().LastIndex - before; entries > 10 {
			t.Errorf("%d proposals took %d entries", len(all), entries)
		}
		if kept, err := l.Entries(before, 100); err != nil || len(kept) != len(all) {
			t.Errorf("the log has %d commands, %v", len(kept), err)
		}
		// A server that comes back reads them from its log.
		f := cl.follower()
		cl.stop(f)
		cl.open(f.id, f.host.IP())
		cl.propose(l, "after")
		cl.same()
	})
}
