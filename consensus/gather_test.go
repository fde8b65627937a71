package consensus

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// answer is a future whose answer comes when the test says so.
type answer struct {
	raft.ApplyFuture
	data string
	done chan error
}

func (a answer) Error() error { return <-a.done }

func (a answer) Index() uint64 { return uint64(len(a.data)) }

func (a answer) Response() any { return a.data }

// TestGather: a proposal that finds few on their way goes at once; what comes meanwhile goes together when few are left, however those
// before were answered; what fills a write goes without waiting.
func TestGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var flying []answer
		var wg sync.WaitGroup
		g := gatherer{few: 2, full: 4, spawn: func(f func()) error {
			wg.Go(f)
			return nil
		}}
		propose := func(texts ...string) {
			for _, text := range texts {
				wg.Go(func() {
					got, handed, err := g.propose(t.Context(), &gathered{data: []byte(text), timeout: time.Second, apply: func(l raft.Log, _ time.Duration) raft.ApplyFuture {
						mu.Lock()
						defer mu.Unlock()
						flying = append(flying, answer{data: string(l.Data), done: make(chan error)})
						return flying[len(flying)-1]
					}})
					if !handed || err == nil && got.Value != text {
						t.Errorf("%s was answered %v, handed in: %v", text, got.Value, handed)
					}
				})
				synctest.Wait()
			}
		}
		taken := func() (out []string) {
			mu.Lock()
			defer mu.Unlock()
			for _, f := range flying {
				out = append(out, f.data)
			}
			return out
		}
		finish := func(n int, err error) {
			mu.Lock()
			these := flying[:n]
			flying = slices.Clone(flying[n:])
			mu.Unlock()
			for _, f := range these {
				f.done <- err
			}
			synctest.Wait()
		}
		step := func(what string, want ...string) {
			t.Helper()
			if got := taken(); !slices.Equal(got, want) {
				t.Errorf("%s: on their way are %q, want %q", what, got, want)
			}
		}
		propose("a")
		step("the first", "a")
		propose("b", "c", "d")
		step("three more", "a", "b")
		finish(1, nil)
		step("the first is answered", "b", "c", "d")
		propose("e", "f", "g")
		step("three more", "b", "c", "d")
		propose("h")
		step("a full write", "b", "c", "d", "e", "f", "g", "h")
		propose("i")
		finish(5, errors.New("leadership lost"))
		step("two of them are left", "g", "h")
		finish(1, nil)
		step("few are left", "h", "i")
		finish(2, nil)
		wg.Wait()
		if g.flying != 0 || len(g.waiting) != 0 {
			t.Errorf("at the end %d fly and %d wait", g.flying, len(g.waiting))
		}
	})
}

// A proposal whose caller has gone while it waited is not handed in, and its caller hears that it was not.
func TestGatherForgetsWhoLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var wg sync.WaitGroup
		var handedIn []string
		land := make(chan error)
		g := gatherer{few: 1, full: 9, spawn: func(f func()) error {
			wg.Go(f)
			return nil
		}}
		propose := func(ctx context.Context, text string) (bool, error) {
			_, handed, err := g.propose(ctx, &gathered{data: []byte(text), apply: func(l raft.Log, _ time.Duration) raft.ApplyFuture {
				handedIn = append(handedIn, string(l.Data))
				return answer{data: string(l.Data), done: land}
			}})
			return handed, err
		}
		leave := func(text string, wantHanded bool) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if handed, err := propose(ctx, text); handed != wantHanded || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: handed in %v, %v", text, handed, err)
			}
		}
		leave("flies", true)
		leave("waits", false)
		wg.Go(func() {
			if handed, err := propose(t.Context(), "stays"); !handed || err != nil {
				t.Errorf("the one that stayed: %v, %v", handed, err)
			}
		})
		synctest.Wait()
		land <- nil
		land <- nil
		wg.Wait()
		if !slices.Equal(handedIn, []string{"flies", "stays"}) || g.flying != 0 || len(g.waiting) != 0 {
			t.Errorf("handed in %q, at the end %d fly and %d wait", handedIn, g.flying, len(g.waiting))
		}
	})
}

// When nothing may be begun any more every proposal is answered so.
func TestGatherAfterTheEnd(t *testing.T) {
	g := gatherer{few: 1, full: 2, spawn: func(func()) error { return ErrClosed }}
	if _, _, err := g.propose(t.Context(), &gathered{}); !errors.Is(err, ErrClosed) || g.flying != 0 {
		t.Errorf("got %v, %d fly", err, g.flying)
	}
}
