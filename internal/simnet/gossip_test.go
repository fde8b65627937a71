package simnet

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"
)

func transports(t *testing.T, n *Net) (a, b memberlist.Transport) {
	t.Helper()
	a, err := n.Host("10.0.0.1").GossipTransport(":7946")
	if err != nil {
		t.Fatal(err)
	}
	if b, err = n.Host("10.0.0.2").GossipTransport("10.0.0.2:7946"); err != nil {
		t.Fatal(err)
	}
	return a, b
}

// arrive sends count packets from a to b and returns how many got there.
func arrive(t *testing.T, a, b memberlist.Transport, count int) int {
	t.Helper()
	for range count {
		if _, err := a.WriteTo([]byte("ping"), "10.0.0.2:7946"); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(time.Second)
	got := 0
	for {
		select {
		case p := <-b.PacketCh():
			if string(p.Buf) != "ping" || p.From.String() != "10.0.0.1:7946" || p.Timestamp.IsZero() {
				t.Errorf("packet %+v", p)
			}
			got++
		default:
			return got
		}
	}
}

func TestPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(Options{Seed: 3})
		defer n.Close()
		a, b := transports(t, n)
		ha, hb := n.Host("10.0.0.1"), n.Host("10.0.0.2")
		if ip, port, err := a.FinalAdvertiseAddr("", 0); ip.String() != "10.0.0.1" || port != 7946 || err != nil {
			t.Errorf("advertise %s %d %v", ip, port, err)
		}
		if got := arrive(t, a, b, 100); got != 100 {
			t.Errorf("%d of 100 arrived", got)
		}
		if got := arrive(t, a, b, 2*inboxSize); got != inboxSize {
			t.Errorf("%d arrived at a member that does not read; want %d", got, inboxSize)
		}
		n.SetLoss(0.3)
		if got := arrive(t, a, b, 500); got < 300 || got > 400 {
			t.Errorf("%d of 500 arrived with 30 %% loss", got)
		}
		n.Heal()
		n.Cut(ha, hb, GossipPackets)
		if got := arrive(t, a, b, 10); got != 0 {
			t.Errorf("%d arrived over a cut link", got)
		}
		if c, err := a.DialTimeout("10.0.0.2:7946", time.Second); err != nil {
			t.Errorf("stream beside blocked packets: %v", err)
		} else {
			(<-b.StreamCh()).Close()
			c.Close()
		}
		n.Heal()
		n.Cut(ha, hb, GossipStreams, TCP)
		if got := arrive(t, a, b, 10); got != 10 {
			t.Errorf("%d of 10 arrived beside blocked streams", got)
		}
		if _, err := a.DialTimeout("10.0.0.2:7946", time.Second); err == nil {
			t.Error("a blocked stream was opened")
		}
		n.Heal()
		n.Freeze(hb)
		if got := arrive(t, a, b, 10); got != 0 {
			t.Errorf("%d arrived at a frozen member", got)
		}
		n.Thaw(hb)
		time.Sleep(time.Second)
		if got := arrive(t, a, b, 1); got != 11 {
			t.Errorf("%d arrived after the thaw, want 11", got)
		}
		n.Kill(hb, Silent)
		if got := arrive(t, a, b, 10); got != 0 {
			t.Errorf("%d arrived at a dead member", got)
		}
	})
}
