package runtime_test

import (
	"bytes"
	"context"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/runtime/fake"
	"github.com/drover-io/drover/state"
)

// slowPeer is a machine that has one image and gives it away a little at a time.
type slowPeer struct {
	has   *fake.Driver
	image *runtime.ClusterImage
	pause time.Duration // before each read
}

func newSlowPeer(t *testing.T, size int, pause time.Duration) *slowPeer {
	t.Helper()
	p := &slowPeer{has: fake.New(fake.NewMachine()), pause: pause}
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i >> (16 + 8*(i%2))) // no two parts are the same
	}
	got, err := p.has.ImportImage(t.Context(), bytes.NewReader(data), "app:1")
	if err != nil {
		t.Fatal(err)
	}
	p.image = &runtime.ClusterImage{Image: got[0], From: []runtime.ImageHolder{{NodeID: "peer", Name: "peer", Up: true}}}
	return p
}

func (p *slowPeer) FindImage(context.Context, string) (*runtime.ClusterImage, error) {
	return p.image, nil
}

func (p *slowPeer) ReadBlob(ctx context.Context, _ runtime.ImageHolder, digest string, offset int64) (io.ReadCloser, error) {
	b, err := p.has.OpenBlob(ctx, digest)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(&slowReader{io.NewSectionReader(b, offset, b.Size()-offset), p.pause}), nil
}

func (p *slowPeer) Stored(string) {}

type slowReader struct {
	io.Reader
	pause time.Duration
}

func (r *slowReader) Read(b []byte) (int, error) {
	time.Sleep(r.pause) // in a bubble
	return r.Reader.Read(b)
}

// downloads are the messages that a download left, in the order in which they were seen, looking every half second.
func downloads(t *testing.T, g *rig, until string) (seen []string) {
	t.Helper()
	for range 1000 {
		g.sleep(time.Second / 2)
		a := g.view(allocID)
		n := 0
		for _, e := range a.Tasks["a"].Events {
			if e.Type != runtime.EventDownloading {
				continue
			}
			n++
			if !slices.Contains(seen, e.Message) {
				seen = append(seen, e.Message)
			}
		}
		if n > 1 {
			t.Fatalf("a download is %d events: %s", n, describe(a))
		}
		if a.Status == until {
			return seen
		}
	}
	t.Fatalf("never %s: %q", until, seen)
	return nil
}

// TestDownloadShowsHowFarItIs: bytes of total, as one event that is told anew a bounded number of times.
func TestDownloadShowsHowFarItIs(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.d.UseImages(newSlowPeer(t, 30<<20, time.Second/8)) // 480 parts: a minute
		g.run(service(task("a", conf{"image": "app:1"})))
		seen := downloads(t, g, "running")
		if len(seen) < 6 || len(seen) > 13 {
			t.Errorf("%d messages: %q", len(seen), seen)
		}
		middle := regexp.MustCompile(`^downloading image app:1: \d+ of 32 MB$`)
		if n := len(seen); seen[0] != "downloading image app:1" || !strings.HasPrefix(seen[n-1], "downloaded image app:1, 32 MB in 1m") {
			t.Errorf("first and last: %q", seen)
		} else if i := slices.IndexFunc(seen[1:n-1], func(m string) bool { return !middle.MatchString(m) }); i >= 0 {
			t.Errorf("between: %q", seen)
		}
		if events := g.view(allocID).Tasks["a"].Events; events[len(events)-1].Type != runtime.EventStarted {
			t.Errorf("last event %+v", events[len(events)-1])
		}
	})
}

// TestQuickDownloadIsNoEvent: what is there at once is not worth a line.
func TestQuickDownloadIsNoEvent(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.d.UseImages(newSlowPeer(t, 1<<20, time.Millisecond))
		g.run(service(task("a", conf{"image": "app:1"})))
		if seen := downloads(t, g, "running"); len(seen) != 0 {
			t.Errorf("told: %q", seen)
		}
	})
}

// TestDownloadThatFails: the event stays, and the reason comes after it.
func TestDownloadThatFails(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		p := newSlowPeer(t, 1<<20, time.Second)
		p.image.From = nil
		g.d.UseImages(p)
		g.run(service(task("a", conf{"image": "app:1"})))
		g.sleep(6 * time.Minute)
		a := g.view(allocID)
		events := a.Tasks["a"].Events
		i := slices.IndexFunc(events, func(e state.TaskEvent) bool { return e.Type == runtime.EventDownloading })
		j := slices.IndexFunc(events, func(e state.TaskEvent) bool { return strings.Contains(e.Message, "no machine that has it is left") })
		if i < 0 || j < i {
			t.Errorf("events: %s", describe(a))
		}
	})
}
