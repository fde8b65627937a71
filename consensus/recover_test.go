package consensus

import (
	"errors"
	"io"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/drover-io/drover/internal/simnet"
)

// marked is a journal whose snapshot says that it was recovered.
type marked struct{ journal }

func (m *marked) Snapshot() func(io.Writer) error {
	save := m.journal.Snapshot()
	return func(w io.Writer) error {
		if err := save(w); err != nil {
			return err
		}
		_, err := io.WriteString(w, "recovered\n")
		return err
	}
}

// eventually waits in virtual time.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 600 {
		if ok() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("not within a minute: " + what)
}

// TestRecover: two of three servers lose their disks. The third one goes on alone with all that is in its log, and takes the others
// in anew.
func TestRecover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := bootstrapped(t, 3, nil)
		l := cl.leader()
		cl.propose(l, "a")
		if err := l.Recover(t.Context(), &marked{}); !errors.Is(err, ErrHasLeader) {
			t.Fatalf("recovered a cluster that has a leader: %v", err)
		}
		cl.propose(l, "b")
		cl.same()
		var lost []*server
		for _, s := range cl.all() {
			if s != l {
				cl.net.Kill(s.host, simnet.Refuse)
				cl.stop(s)
				lost = append(lost, s)
			}
		}
		// What the leader wrote and nobody acknowledged is in its log alone.
		if _, err := l.Propose(t.Context(), []byte("maybe")); !errors.Is(err, ErrUnknownOutcome) {
			t.Fatalf("a lone leader acknowledged: %v", err)
		}
		eventually(t, "the lone leader steps down", func() bool { id, _ := l.Leader(); return id == "" })
		at := l.Standing()
		gap, err := l.Entries(at.Commit, 10)
		if err != nil || len(gap) != 1 || string(gap[0].Data) != "maybe" || at.LastIndex <= at.Commit || at.LastTerm == 0 {
			t.Errorf("standing %+v, in doubt %v, %v", at, gap, err)
		}
		if err := l.Recover(t.Context(), &marked{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the survivor leads", l.IsLeader)
		cl.propose(l, "c")
		if got, want := l.fsm.all(), []string{"a", "b", "maybe", "recovered", "c"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if now := l.Standing(); now.LastIndex <= at.LastIndex || now.Term <= at.Term {
			t.Errorf("standing went from %+v to %+v", at, now)
		}
		for _, s := range lost {
			if err := os.RemoveAll(s.dir); err != nil {
				t.Fatal(err)
			}
			cl.net.Restart(s.host)
			again := cl.open(s.id, s.host.IP())
			if err := l.AddNonvoter(t.Context(), again.id, again.addr); err != nil {
				t.Fatal(err)
			}
			eventually(t, "a wiped server votes again", func() bool {
				promoted, err := l.PromoteCaughtUp(t.Context())
				return err == nil && len(promoted) == 1
			})
		}
		cl.propose(l, "d")
		cl.same()
		if err := l.Transfer(t.Context(), ""); err != nil {
			t.Errorf("the recovered server cannot hand over: %v", err)
		}
		cl.propose(cl.leader(), "e")
		cl.same()
	})
}

// TestRecoverAfterRestart: the survivor was started again, and knows nothing of what is committed.
func TestRecoverAfterRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := bootstrapped(t, 3, nil)
		f := cl.follower()
		cl.propose(cl.leader(), "a")
		cl.same()
		for _, s := range cl.all() {
			cl.net.Kill(s.host, simnet.Refuse)
			cl.stop(s)
		}
		cl.net.Restart(f.host)
		f = cl.open(f.id, f.host.IP())
		time.Sleep(3 * time.Second)
		if at := f.Standing(); at.Commit != 0 || at.LastIndex == 0 {
			t.Errorf("standing %+v", at)
		}
		if err := f.Recover(t.Context(), &journal{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the survivor leads", f.IsLeader)
		cl.propose(f, "b")
		if got, want := f.fsm.all(), []string{"a", "b"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		empty := cl.open("n9", "10.0.0.9")
		if err := empty.Recover(t.Context(), &journal{}); err == nil {
			t.Error("a server without a log was recovered")
		}
		cl.stop(f)
		f = cl.open(f.id, f.host.IP()) // what was written lasts
		eventually(t, "the survivor leads after another start", f.IsLeader)
		if got, want := f.fsm.all(), []string{"a", "b"}; !slices.Equal(got, want) {
			t.Errorf("after another start: got %q, want %q", got, want)
		}
	})
}
