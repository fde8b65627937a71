package consensus

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/drover-io/drover/internal/simnet"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// journal is an FSM that keeps every command in order.
type journal struct {
	mu    sync.Mutex
	lines []string
	terms []uint64
}

func (j *journal) Apply(entries []Committed) (results []any) {
	for _, e := range entries {
		results = append(results, j.apply(e.Term, e.Data))
	}
	return results
}

func (j *journal) apply(term uint64, data []byte) any {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, string(data))
	j.terms = append(j.terms, term)
	if string(data) == "bad" {
		return errors.New("bad command")
	}
	return len(j.lines)
}

func (j *journal) Snapshot() func(io.Writer) error {
	lines := j.all()
	return func(w io.Writer) error {
		for _, l := range lines {
			if _, err := fmt.Fprintln(w, l); err != nil {
				return err
			}
		}
		return nil
	}
}

func (j *journal) Restore(r io.Reader) error {
	lines, err := readJournal(r)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = lines
	return nil
}

func readJournal(r io.Reader) ([]string, error) {
	var lines []string
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 2*MaxProposal)
	for sc.Scan() {
		if sc.Text() == "damaged" {
			return nil, errors.New("damaged line")
		}
		lines = append(lines, sc.Text())
	}
	return lines, sc.Err()
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.lines)
}

// layer is raft's stream layer over a simulated host.
type layer struct {
	net.Listener
	host *simnet.Host
}

func (l layer) Dial(a raft.ServerAddress, d time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return l.host.Dial(ctx, string(a))
}

func (l layer) DialContext(ctx context.Context, a raft.ServerAddress) (net.Conn, error) {
	return l.host.Dial(ctx, string(a))
}

// server is one member of a cluster under test.
type server struct {
	*Consensus
	id   string
	addr string
	host *simnet.Host
	fsm  *journal
	dir  string
}

// cluster is servers over a simulated network, and the address book that gossip would be.
type cluster struct {
	t    *testing.T
	net  *simnet.Net
	dir  string
	tune func(*Config)

	mu      sync.Mutex
	servers map[string]*server
	book    map[string]string
}

func newCluster(t *testing.T, tune func(*Config)) *cluster {
	cl := &cluster{t: t, net: simnet.New(simnet.Options{Seed: 1}), dir: t.TempDir(), tune: tune, servers: map[string]*server{}, book: map[string]string{}}
	t.Cleanup(cl.close)
	return cl
}

// bootstrapped returns a cluster of n servers, n1 to nN, with a leader.
func bootstrapped(t *testing.T, n int, tune func(*Config)) *cluster {
	t.Helper()
	cl := newCluster(t, tune)
	var first []Server
	for i := range n {
		s := cl.open(fmt.Sprintf("n%d", i+1), fmt.Sprintf("10.0.0.%d", i+1))
		first = append(first, Server{s.id, s.addr})
	}
	for _, s := range cl.servers {
		if err := s.Bootstrap(first); err != nil && !errors.Is(err, ErrHasState) {
			t.Fatal(err)
		}
	}
	cl.leader()
	return cl
}

func (cl *cluster) config(id, ip string) (Config, *server) {
	cl.t.Helper()
	s := &server{id: id, addr: ip + ":4647", host: cl.net.Host(ip), fsm: &journal{}, dir: filepath.Join(cl.dir, id)}
	ln, err := s.host.Listen(cl.t.Context(), s.addr)
	if err != nil {
		cl.t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.NodeID, cfg.Dir, cfg.FSM, cfg.Transport = id, s.dir, s.fsm, layer{ln, s.host}
	cfg.AddressOf = cl.addressOf
	cfg.NoSync = true // a thousand flushes to a shared disk take longer than everything else
	cfg.CheckSnapshot = func(r io.Reader) error { _, err := readJournal(r); return err }
	if os.Getenv("RAFT_LOG") != "" {
		cfg.Logger = hclog.New(&hclog.LoggerOptions{Name: id, Level: hclog.Debug, Output: os.Stderr})
	}
	if cl.tune != nil {
		cl.tune(&cfg)
	}
	return cfg, s
}

// open starts a server, with what an earlier one of this ID left on disk.
func (cl *cluster) open(id, ip string) *server {
	cl.t.Helper()
	cfg, s := cl.config(id, ip)
	var err error
	if s.Consensus, err = Open(cfg); err != nil {
		cl.t.Fatal(err)
	}
	cl.mu.Lock()
	defer cl.mu.Unlock()
	cl.servers[id], cl.book[id] = s, s.addr
	return s
}

func (cl *cluster) addressOf(id string) (string, bool) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	a, ok := cl.book[id]
	return a, ok
}

// stop ends a server; its host must have been killed before if that is to look like a death.
func (cl *cluster) stop(s *server) {
	cl.t.Helper()
	cl.mu.Lock()
	delete(cl.servers, s.id)
	cl.mu.Unlock()
	if err := s.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		cl.t.Errorf("close %s: %v", s.id, err)
	}
}

func (cl *cluster) close() {
	for _, s := range cl.all() {
		cl.stop(s)
	}
	cl.net.Close()
}

func (cl *cluster) all() []*server {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	var all []*server
	for _, s := range cl.servers {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *server) int { return strings.Compare(a.id, b.id) })
	return all
}

// follower returns a server that does not lead.
func (cl *cluster) follower() *server {
	cl.t.Helper()
	l := cl.leader()
	for _, s := range cl.all() {
		if s != l {
			return s
		}
	}
	cl.t.Fatal("no follower")
	return nil
}

func (cl *cluster) propose(s *server, text string) uint64 {
	cl.t.Helper()
	r, err := s.Propose(cl.t.Context(), []byte(text))
	if err != nil {
		cl.t.Fatal(err)
	}
	return r.Index
}

// same waits until all servers have applied the same, and returns it.
func (cl *cluster) same() []string {
	cl.t.Helper()
	l := cl.leader()
	ctx, cancel := context.WithTimeout(cl.t.Context(), 30*time.Second)
	defer cancel()
	if err := l.Barrier(ctx); err != nil {
		cl.t.Fatal(err)
	}
	want := l.fsm.all()
	for _, s := range cl.all() {
		if err := s.WaitApplied(ctx, l.CommitIndex()); err != nil {
			cl.t.Fatalf("%s: %v", s.id, err)
		}
		if got := s.fsm.all(); !slices.Equal(got, want) {
			cl.t.Fatalf("%s has %d lines, leader %s has %d", s.id, len(got), l.id, len(want))
		}
	}
	return want
}

// load proposes on whoever leads, from several goroutines, until stopped.
type load struct {
	cl      *cluster
	wg      sync.WaitGroup
	stop    chan struct{}
	mu      sync.Mutex
	acked   []string
	unknown map[string]bool
	refused int
}

func (cl *cluster) load(writers int, pause time.Duration) *load {
	ld := &load{cl: cl, stop: make(chan struct{}), unknown: map[string]bool{}}
	for w := range writers {
		ld.wg.Go(func() { ld.write(w, pause) })
	}
	return ld
}

func (ld *load) write(w int, pause time.Duration) {
	for i := 0; ; i++ {
		select {
		case <-ld.stop:
			return
		case <-time.After(pause):
		}
		for _, s := range ld.cl.all() {
			if s.IsLeader() {
				ld.one(s, "w"+strconv.Itoa(w)+"-"+strconv.Itoa(i)+"@"+s.id)
			}
		}
	}
}

func (ld *load) one(s *server, text string) {
	writer, _, _ := strings.Cut(text, "-")
	_, err := s.ProposeShared(context.Background(), writer, []byte(text))
	ld.mu.Lock()
	defer ld.mu.Unlock()
	switch {
	case err == nil:
		ld.acked = append(ld.acked, text)
	case errors.Is(err, ErrUnknownOutcome):
		ld.unknown[text] = true
	case errors.Is(err, ErrNotLeader), errors.Is(err, ErrClosed):
		ld.refused++
	default:
		ld.cl.t.Errorf("propose %s: %v", text, err)
	}
}

// check ends the load and compares what was promised with what is there: every acknowledged line exactly once, nothing else but
// lines of unknown outcome.
func (ld *load) check() {
	t := ld.cl.t
	t.Helper()
	close(ld.stop)
	ld.wg.Wait()
	lines := ld.cl.same()
	count := map[string]int{}
	for _, l := range lines {
		count[l]++
	}
	for _, l := range ld.acked {
		if count[l] != 1 {
			t.Errorf("acknowledged %s is there %d times", l, count[l])
		}
		delete(count, l)
	}
	for l, n := range count {
		if !ld.unknown[l] || n != 1 {
			t.Errorf("%s is there %d times and was not acknowledged (unknown outcome: %v)", l, n, ld.unknown[l])
		}
	}
	if len(ld.acked) < 100 {
		t.Errorf("only %d writes acknowledged", len(ld.acked))
	}
	t.Logf("%d acknowledged, %d of unknown outcome, %d refused", len(ld.acked), len(ld.unknown), ld.refused)
}
