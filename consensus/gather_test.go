package consensus

import (
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

// TestGather: a proposal that finds few on their way goes at once; what comes meanwhile goes together when few are left, however those
// before were answered; what fills a write goes without waiting.
func TestGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var flying []answer
		g := gatherer{few: 2, full: 4}
		var wg sync.WaitGroup
		propose := func(texts ...string) {
			for _, text := range texts {
				wg.Go(func() {
					f := g.propose(&gathered{data: []byte(text), timeout: time.Second, apply: func(data []byte, _ time.Duration) raft.ApplyFuture {
						mu.Lock()
						defer mu.Unlock()
						flying = append(flying, answer{data: string(data), done: make(chan error)})
						return flying[len(flying)-1]
					}})
					_ = f.Error()
					g.done()
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
