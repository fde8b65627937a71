package agent

import (
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/drover-io/drover/internal/simnet"
)

// onPeerPort runs f in a bubble with a peer port and a machine that dials it.
func onPeerPort(t *testing.T, f func(t *testing.T, p *peerPort, dial func() net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(simnet.Options{})
		defer n.Close()
		p, err := openPeerPort(t.Context(), n.Host("10.0.0.1"), "10.0.0.1:4647", hclog.NewNullLogger())
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		f(t, p, func() net.Conn {
			t.Helper()
			c, err := n.Host("10.0.0.2").Dial(t.Context(), "10.0.0.1:4647")
			if err != nil {
				t.Fatal(err)
			}
			return c
		})
	})
}

func write(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

func TestPeerPortTellsProtocolsApart(t *testing.T) {
	onPeerPort(t, func(t *testing.T, p *peerPort, dial func() net.Conn) {
		admitted := make(chan struct{})
		raft, http := p.raftLayer(admitted), p.httpListener()
		one, other := dial(), dial()
		write(t, one, "\x01entries")
		write(t, other, "GET / HTTP/1.1\r\n")
		check := func(l net.Listener, want string) {
			t.Helper()
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(want))
			if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
				t.Errorf("read %q, %v; want %q", got, err, want)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
		check(http, "GET / HTTP/1.1\r\n")
		time.Sleep(time.Second)
		close(admitted) // until then raft takes nobody
		check(raft, "entries")
	})
}

// TestPeerPortDropsTheUnwanted: who says nothing, and who speaks what nobody takes here, is dropped after a while.
func TestPeerPortDropsTheUnwanted(t *testing.T) {
	for _, says := range []string{"", "\x01entries"} {
		onPeerPort(t, func(t *testing.T, _ *peerPort, dial func() net.Conn) {
			c := dial()
			write(t, c, says)
			start := time.Now()
			_, err := c.Read(make([]byte, 1))
			if took := time.Since(start); err == nil || took < firstByteTimeout || took > firstByteTimeout+time.Second {
				t.Errorf("after %q: dropped after %s with %v, want after %s", says, took, err, firstByteTimeout)
			}
		})
	}
}

// TestPeerPortBoundsTheSilent: connections that say nothing take no more than their places; then the others have their turn.
func TestPeerPortBoundsTheSilent(t *testing.T) {
	onPeerPort(t, func(t *testing.T, p *peerPort, dial func() net.Conn) {
		for range maxPendingPeers {
			dial()
			time.Sleep(time.Millisecond) // they are taken off the queue
		}
		synctest.Wait()
		if got := len(p.slots); got != maxPendingPeers {
			t.Fatalf("places taken: got %d, want %d", got, maxPendingPeers)
		}
		write(t, dial(), "GET /")
		start := time.Now()
		if _, err := p.httpListener().Accept(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > firstByteTimeout+time.Second {
			t.Errorf("an honest connection waited %s", took)
		}
	})
}

// TestPeerPortCloses: nobody who says nothing can hold up the end of the agent.
func TestPeerPortCloses(t *testing.T) {
	onPeerPort(t, func(t *testing.T, p *peerPort, dial func() net.Conn) {
		l := p.httpListener()
		dial()
		write(t, dial(), "\x01entries")
		synctest.Wait()
		time.Sleep(10 * time.Millisecond)
		start := time.Now()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took > 100*time.Millisecond {
			t.Errorf("closed after %s", took)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept after close: %v", err)
		}
	})
}
