package simnet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// world is two hosts; b listens on port 80.
type world struct {
	t    *testing.T
	net  *Net
	a, b *Host
	ln   net.Listener
}

func newWorld(t *testing.T, o Options) *world {
	t.Helper()
	n := New(o)
	w := &world{t: t, net: n, a: n.Host("10.0.0.1"), b: n.Host("10.0.0.2")}
	var err error
	if w.ln, err = w.b.Listen(t.Context(), "10.0.0.2:80"); err != nil {
		t.Fatal(err)
	}
	return w
}

// pipe is a connection from a to b, both ends.
func (w *world) pipe() (a, b net.Conn) {
	w.t.Helper()
	a, err := w.a.Dial(w.t.Context(), "10.0.0.2:80")
	if err != nil {
		w.t.Fatal(err)
	}
	if b, err = w.ln.Accept(); err != nil {
		w.t.Fatal(err)
	}
	return a, b
}

// dial tries for five seconds.
func (w *world) dial(from *Host, addr string) error {
	ctx, cancel := context.WithTimeout(w.t.Context(), 5*time.Second)
	defer cancel()
	c, err := from.Dial(ctx, addr)
	if err == nil {
		err = c.Close()
	}
	return err
}

func say(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// hear reads once with a deadline.
func hear(c net.Conn, within time.Duration) (string, error) {
	if err := c.SetReadDeadline(time.Now().Add(within)); err != nil {
		return "", err
	}
	b := make([]byte, 100)
	n, err := c.Read(b)
	return string(b[:n]), err
}

func wantHear(t *testing.T, c net.Conn, want string) {
	t.Helper()
	if got, err := hear(c, time.Second); got != want || err != nil {
		t.Fatalf("read %q, %v; want %q", got, err, want)
	}
}

func wantTimeout(t *testing.T, c net.Conn) {
	t.Helper()
	got, err := hear(c, time.Second)
	var ne net.Error
	if got != "" || !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
		t.Fatalf("read %q, %v; want a time-out", got, err)
	}
}

func TestBytesArriveInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{Seed: 7})
		defer w.net.Close()
		a, b := w.pipe()
		sent := bytes.Repeat([]byte("drover "), 300_000) // much more than the window
		var wg sync.WaitGroup
		wg.Go(func() {
			for part := sent; len(part) > 0; {
				k := min(len(part), 70_001)
				if _, err := a.Write(part[:k]); err != nil {
					t.Error(err)
				}
				part = part[k:]
			}
			if err := a.Close(); err != nil {
				t.Error(err)
			}
		})
		start := time.Now()
		got, err := io.ReadAll(b)
		wg.Wait()
		if err != nil || sha256.Sum256(got) != sha256.Sum256(sent) {
			t.Fatalf("got %d bytes of %d, %v", len(got), len(sent), err)
		}
		if took := time.Since(start); took == 0 || took > time.Second {
			t.Errorf("took %s of virtual time", took)
		}
		if _, err := b.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("write to a closed connection: %v", err)
		}
	})
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{})
		defer w.net.Close()
		a, b := w.pipe()
		wantTimeout(t, a)
		// A deadline set while a read waits wakes it.
		if err := a.SetDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("read: %v", err)
			}
		})
		time.Sleep(time.Minute)
		if err := a.SetReadDeadline(time.Now()); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		// A full window blocks writes until the deadline, not for ever.
		if err := b.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := b.Write(make([]byte, 2*window))
		if n != window || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("wrote %d, %v", n, err)
		}
	})
}

func TestCutHoldsAndHealDelivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{})
		defer w.net.Close()
		a, b := w.pipe()
		w.net.CutOneWay(w.a, w.b)
		say(t, a, "late")
		say(t, b, "early")
		wantHear(t, a, "early")
		wantTimeout(t, b)
		if err := w.dial(w.a, "10.0.0.2:80"); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("dial over a cut link: %v", err)
		}
		if err := w.dial(w.b, "10.0.0.1:80"); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("dial whose answer cannot come back: %v", err)
		}
		w.net.Heal()
		wantHear(t, b, "late")
		// A dial that waits gets through at the moment of healing.
		w.net.Isolate(w.b)
		time.AfterFunc(3*time.Second, w.net.Heal)
		start := time.Now()
		if err := w.dial(w.a, "10.0.0.2:80"); err != nil || time.Since(start) > 3100*time.Millisecond {
			t.Errorf("dial during isolation: %v after %s", err, time.Since(start))
		}
	})
}

func TestKillRefuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{})
		defer w.net.Close()
		a, b := w.pipe()
		say(t, b, "last words")
		time.Sleep(time.Second)
		w.net.Kill(w.b, Refuse)
		wantHear(t, a, "last words")
		if _, err := hear(a, time.Second); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read from a dead process: %v", err)
		}
		if err := w.dial(w.a, "10.0.0.2:80"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial a dead process: %v", err)
		}
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read on the dead host: %v", err)
		}
		if _, err := w.ln.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept on the dead host: %v", err)
		}
		if err := w.dial(w.b, "10.0.0.1:80"); !errors.Is(err, errHostDown) {
			t.Errorf("dial from the dead host: %v", err)
		}
		if _, err := w.b.Listen(t.Context(), ":80"); !errors.Is(err, errHostDown) {
			t.Errorf("listen on the dead host: %v", err)
		}
		w.net.Restart(w.b)
		if _, err := w.b.Listen(t.Context(), ":80"); err != nil {
			t.Fatal(err)
		}
		if err := w.dial(w.a, "10.0.0.2:80"); err != nil {
			t.Errorf("dial after the restart: %v", err)
		}
	})
}

func TestKillSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{})
		defer w.net.Close()
		a, b := w.pipe()
		say(t, b, "on its way")
		w.net.Kill(w.b, Silent)
		wantTimeout(t, a)
		say(t, a, "into the void")
		if err := w.dial(w.a, "10.0.0.2:80"); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("dial a machine that is gone: %v", err)
		}
		w.net.Restart(w.b)
		if _, err := hear(a, time.Second); err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read after the machine came back: %v", err)
		}
		if _, err := hear(a, time.Second); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read after the machine came back: %v", err)
		}
		if err := w.dial(w.a, "10.0.0.2:80"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial before anybody listens: %v", err)
		}
	})
}

func TestFreeze(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{})
		defer w.net.Close()
		a, b := w.pipe()
		w.net.Freeze(w.b)
		say(t, a, "hello?")
		wantTimeout(t, b)
		c, err := w.a.Dial(t.Context(), "10.0.0.2:80")
		if err != nil {
			t.Fatalf("dial a frozen host: %v", err)
		}
		wantTimeout(t, c)
		accepted := make(chan net.Conn, 1)
		var wg sync.WaitGroup
		wg.Go(func() {
			if c, err := w.ln.Accept(); err == nil {
				accepted <- c
			}
		})
		synctest.Wait()
		if len(accepted) != 0 {
			t.Error("a frozen host accepted")
		}
		w.net.Thaw(w.b)
		wg.Wait()
		wantHear(t, b, "hello?")
		say(t, <-accepted, "here")
		wantHear(t, c, "here")
	})
}

func TestListenerCloseKeepsAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{})
		defer w.net.Close()
		a, b := w.pipe()
		waiting, err := w.a.Dial(t.Context(), "10.0.0.2:80")
		if err != nil {
			t.Fatal(err)
		}
		if err := w.ln.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := hear(waiting, time.Second); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("connection that was never accepted: %v", err)
		}
		say(t, b, "still here")
		wantHear(t, a, "still here")
		if err := w.dial(w.a, "10.0.0.2:80"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial a closed port: %v", err)
		}
		if _, err := w.b.Listen(t.Context(), "0.0.0.0:80"); err != nil {
			t.Errorf("listen again: %v", err)
		}
		if _, err := w.b.Listen(t.Context(), "10.0.0.2:80"); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("listen twice: %v", err)
		}
		if _, err := w.b.Listen(t.Context(), "10.0.0.9:80"); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("listen on another's address: %v", err)
		}
	})
}

func TestPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(Options{})
		defer n.Close()
		var hosts []*Host
		for i := range 4 {
			h := n.Host(fmt.Sprintf("10.0.0.%d", i+1))
			hosts = append(hosts, h)
			if _, err := h.Listen(t.Context(), ":1"); err != nil {
				t.Fatal(err)
			}
		}
		reach := func(i, j int) bool {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := hosts[i].Dial(ctx, fmt.Sprintf("10.0.0.%d:1", j+1))
			return err == nil
		}
		n.Partition(hosts[:2], hosts[2:3]) // the fourth is alone with whoever is in no group
		for i := range 4 {
			for j := range 4 {
				want := i == j || i < 2 && j < 2
				if got := reach(i, j); got != want {
					t.Errorf("%d reaches %d: %v, want %v", i, j, got, want)
				}
			}
		}
		n.Heal()
		n.PartitionProto(Gossip, hosts[:2])
		if !reach(0, 3) {
			t.Error("a partition of gossip stopped TCP")
		}
		n.Cut(hosts[0], hosts[3], TCP)
		if reach(0, 3) || reach(3, 0) || !reach(1, 3) {
			t.Error("a cut of TCP did not stop it, or more than it")
		}
	})
}

func TestHTTPRunsOverIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{})
		defer w.net.Close()
		srv := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(30 * time.Second): // a long poll that finds nothing
				fmt.Fprint(rw, "nothing new")
			case <-r.Context().Done():
			}
		})}
		var wg sync.WaitGroup
		wg.Go(func() { _ = srv.Serve(w.ln) })
		tr := &http.Transport{DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return w.a.Dial(ctx, addr) }}
		client := &http.Client{Transport: tr}
		start := time.Now()
		resp, err := client.Get("http://10.0.0.2:80/")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || string(body) != "nothing new" || time.Since(start) < 30*time.Second {
			t.Errorf("got %q, %v after %s", body, err, time.Since(start))
		}
		_ = resp.Body.Close()
		time.AfterFunc(time.Second, func() { w.net.Kill(w.b, Refuse) })
		// The client sees a reset, tries once more by itself and is refused.
		if resp, err := client.Get("http://10.0.0.2:80/"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("poll of a server that dies: %v, %v", resp, err)
		}
		_ = srv.Close()
		wg.Wait()
		tr.CloseIdleConnections()
	})
}
