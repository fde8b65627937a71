package agent

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/drover-io/drover/api"
)

// A server that swallows questions costs its own share of the time once, not the whole of it again and again: the others are asked,
// and asked first from then on.
func TestPeersPassASilentServerBy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := newPeers(nil, "me", func() []string { return []string{"dead:1", "alive:1"} })
		if err != nil {
			t.Fatal(err)
		}
		dead := true
		var asked []string
		ask := func(ctx context.Context, c *api.Client) error {
			asked = append(asked, c.Addr())
			if c.Addr() == "http://dead:1" && dead {
				<-ctx.Done()
				return api.NewError(api.CodeTimeout, "", "no answer")
			}
			return nil
		}
		round := func(wantTook time.Duration, want ...string) {
			t.Helper()
			asked = nil
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 11*time.Second)
			defer cancel()
			if err := p.eachWithin(ctx, 2*time.Second, ask); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took != wantTook || !slices.Equal(asked, want) {
				t.Errorf("asked %v in %s, want %v in %s", asked, took, want, wantTook)
			}
		}
		round(2*time.Second, "http://dead:1", "http://alive:1")
		round(0, "http://alive:1")
		dead = false
		time.Sleep(avoidFor)
		round(0, "http://dead:1")
	})
}
