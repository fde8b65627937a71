package consensus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

// A leadership that is lost and regained while nobody looks shows as another term, never as nothing.
func TestTermsServesLostAndRegained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var term atomic.Uint64
		wake := make(chan struct{}, 1)
		set := func(v uint64) {
			term.Store(v)
			select {
			case wake <- struct{}{}:
			default:
			}
		}
		var log []string
		running := 0
		fn := func(ctx context.Context, term uint64) error {
			running++
			log = append(log, fmt.Sprintf("start %d", term))
			<-ctx.Done()
			if cause := context.Cause(ctx); term != 11 && !errors.Is(cause, ErrTermOver) {
				t.Errorf("term %d ended by %v", term, cause)
			}
			time.Sleep(10 * time.Second) // slow to let go
			log = append(log, fmt.Sprintf("end %d", term))
			if running--; running != 0 {
				t.Error("two terms at once")
			}
			return ctx.Err()
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		var wg sync.WaitGroup
		bye := errors.New("bye")
		wg.Go(func() {
			if err := (terms{leading: term.Load, wake: wake, log: hclog.NewNullLogger()}).serve(ctx, fn); !errors.Is(err, bye) {
				t.Errorf("ended with %v", err)
			}
		})
		synctest.Wait()
		set(5)
		synctest.Wait()
		term.Store(0)
		set(7) // lost and regained between two looks
		time.Sleep(time.Second)
		set(0)
		set(9) // twice more while term 5's work still lets go
		set(0)
		set(11)
		time.Sleep(time.Minute)
		for range 3 {
			set(11) // nothing changed
			synctest.Wait()
		}
		cancel(bye)
		wg.Wait()
		want := []string{"start 5", "end 5", "start 11", "end 11"}
		if !slices.Equal(log, want) {
			t.Errorf("got %q, want %q", log, want)
		}
	})
}

func TestTermsRetriesWorkThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		calls := 0
		fn := func(context.Context, uint64) error {
			if calls++; calls < 3 {
				return errors.New("no luck")
			}
			return nil // done for this term
		}
		tt := terms{leading: func() uint64 { return 1 }, wake: make(chan struct{}), log: hclog.NewNullLogger()}
		if err := tt.serve(ctx, fn); !errors.Is(err, context.DeadlineExceeded) || calls != 3 {
			t.Errorf("%d calls, %v", calls, err)
		}
	})
}

// watchTerms runs WhileLeader on a server and records what it was given.
type watchTerms struct {
	mu      sync.Mutex
	terms   []uint64
	running int
	wg      sync.WaitGroup
	cancel  context.CancelFunc
}

func (w *watchTerms) run(t *testing.T, s *server, letGo time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	w.wg.Go(func() {
		err := s.WhileLeader(ctx, func(ctx context.Context, term uint64) error {
			w.mu.Lock()
			w.terms = append(w.terms, term)
			w.running++
			if w.running != 1 {
				t.Error("two terms at once")
			}
			w.mu.Unlock()
			if _, err := s.Propose(ctx, []byte(fmt.Sprintf("lead %d", term))); err != nil && !errors.Is(err, ErrNotLeader) && !errors.Is(err, ErrUnknownOutcome) {
				t.Errorf("propose in term %d: %v", term, err)
			}
			<-ctx.Done()
			time.Sleep(letGo)
			w.mu.Lock()
			defer w.mu.Unlock()
			w.running--
			return nil
		})
		if !errors.Is(err, context.Canceled) && !errors.Is(err, ErrClosed) {
			t.Errorf("ended with %v", err)
		}
	})
}

// Leadership moves to another server and straight back, faster than the work lets go: the work still sees two terms.
func TestWhileLeaderSeesEveryTermItCanServe(t *testing.T) {
	for _, letGo := range []time.Duration{0, 3 * time.Second} {
		t.Run("letting go takes "+letGo.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cl := bootstrapped(t, 3, nil)
				s := cl.leader()
				first := s.Term()
				var w watchTerms
				w.run(t, s, letGo)
				time.Sleep(time.Second)
				for range 5 {
					other := cl.follower()
					if err := s.Transfer(t.Context(), other.id); err != nil {
						t.Fatal(err)
					}
					for !other.IsLeader() {
						time.Sleep(time.Millisecond)
					}
					if err := other.Transfer(t.Context(), s.id); err != nil {
						t.Fatal(err)
					}
					for !s.IsLeader() {
						time.Sleep(time.Millisecond)
					}
					if letGo == 0 {
						time.Sleep(50 * time.Millisecond)
					}
				}
				last := s.Term()
				time.Sleep(10 * time.Second)
				w.mu.Lock()
				got := slices.Clone(w.terms)
				if w.running != 1 {
					t.Errorf("%d running while leading", w.running)
				}
				w.mu.Unlock()
				if !slices.IsSorted(got) || got[0] != first || got[len(got)-1] != last {
					t.Errorf("served terms %d; led from %d to %d", got, first, last)
				}
				if want := 6; letGo == 0 && len(got) != want {
					t.Errorf("served terms %d, want %d of them", got, want)
				}
				if len(slices.Compact(got)) != len(w.terms) {
					t.Errorf("a term was served twice: %d", w.terms)
				}
				w.cancel()
				w.wg.Wait()
			})
		})
	}
}

// All servers run leader work while the network is torn again and again: never two of one term, and no leader without work.
func TestWhileLeaderThroughPartitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := bootstrapped(t, 3, nil)
		watches := map[string]*watchTerms{}
		for _, s := range cl.all() {
			w := &watchTerms{}
			watches[s.id] = w
			w.run(t, s, 100*time.Millisecond)
		}
		for range 10 {
			cl.net.Isolate(cl.leader().host)
			time.Sleep(3 * time.Second)
			cl.net.Heal()
			time.Sleep(3 * time.Second)
		}
		l := cl.leader()
		seen := map[uint64]string{}
		for id, w := range watches {
			w.mu.Lock()
			for _, term := range w.terms {
				if other, dup := seen[term]; dup {
					t.Errorf("term %d was served by %s and by %s", term, other, id)
				}
				seen[term] = id
			}
			if want := id == l.id; (w.running == 1) != want {
				t.Errorf("%s runs %d, leads %v", id, w.running, want)
			}
			w.mu.Unlock()
		}
		if seen[l.Term()] != l.id || len(seen) < 11 {
			t.Errorf("terms served: %v; %s leads %d", seen, l.id, l.Term())
		}
		// Close ends the work and waits for it.
		for _, s := range cl.all() {
			cl.stop(s)
		}
		for id, w := range watches {
			w.wg.Wait()
			if w.running != 0 {
				t.Errorf("%s still runs after Close", id)
			}
		}
	})
}

func TestLeaderChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := bootstrapped(t, 3, nil)
		l, f := cl.leader(), cl.follower()
		time.Sleep(time.Second)
		changes, stop := f.LeaderChanges()
		defer stop()
		time.Sleep(time.Minute)
		select {
		case <-changes:
			t.Error("a change while nothing changed")
		default:
		}
		if err := l.Transfer(t.Context(), f.id); err != nil {
			t.Fatal(err)
		}
		for range 1000 { // look again after each nudge, as users do
			<-changes
			if id, addr := f.Leader(); id == f.id && addr == f.addr {
				return
			}
		}
		t.Error("no nudge led to the new leader")
	})
}
