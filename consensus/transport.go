package consensus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// ContextDialer is what a Config.Transport may offer beside raft.StreamLayer, so that Close need not wait for a dial to a machine
// that does not answer.
type ContextDialer interface {
	// DialContext connects to another server's transport until ctx ends.
	DialContext(ctx context.Context, addr raft.ServerAddress) (net.Conn, error)
}

// transport is raft's network transport with addresses by ID and a note of how far each server's log is, which raft does not
// tell.
type transport struct {
	*raft.NetworkTransport
	cfg     Config
	streams *streams
	raft    atomic.Pointer[raft.Raft] // nil while raft is starting
	keep    atomic.Bool               // raft is started again on this transport: its end does not close it

	wg sync.WaitGroup // of the pipelines' own goroutines

	mu    sync.Mutex
	peers map[raft.ServerID]progress
	pipes map[*quietPipeline]struct{} // open
}

// progress is what a server's last answer to this leader said.
type progress struct {
	last     uint64    // newest index in its log
	when     time.Time // of the answer
	commit   uint64    // committed here when that was asked
	caughtUp bool      // had everything that was committed one exchange earlier
}

var (
	_ raft.Transport             = (*transport)(nil)
	_ raft.WithPreVote           = (*transport)(nil)
	_ raft.WithClose             = (*transport)(nil)
	_ raft.ServerAddressProvider = (*transport)(nil)
)

func newTransport(cfg Config) *transport {
	t := &transport{cfg: cfg, streams: newStreams(cfg), peers: map[raft.ServerID]progress{}, pipes: map[*quietPipeline]struct{}{}}
	t.NetworkTransport = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		ServerAddressProvider: t,
		Logger:                cfg.Logger.Named("net"),
		Stream:                t.streams,
		MaxPool:               keptStreams,
		Timeout:               cfg.RPCTimeout,
	})
	return t
}

// Close is called by raft when it has ended.
func (t *transport) Close() error {
	if t.keep.Load() {
		return nil
	}
	return t.NetworkTransport.Close()
}

// abandon closes the transport, the connections it keeps and those it forgot.
func (t *transport) abandon() error {
	err := t.NetworkTransport.Close()
	t.CloseStreams()
	err = errors.Join(err, t.streams.closeAll())
	t.wg.Wait()
	return err
}

// ServerAddr returns the present address of a server.
func (t *transport) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	if string(id) == t.cfg.NodeID {
		return raft.ServerAddress(t.streams.Addr().String()), nil
	}
	if t.cfg.AddressOf != nil {
		if addr, ok := t.cfg.AddressOf(string(id)); ok && addr != "" {
			return raft.ServerAddress(addr), nil
		}
	}
	if r := t.raft.Load(); r != nil {
		for _, s := range r.GetConfiguration().Configuration().Servers {
			if s.ID == id {
				return s.Address, nil
			}
		}
	}
	return "", fmt.Errorf("find address of server %s: %w", id, ErrNoSuchServer)
}

// AppendEntries sends entries or a heartbeat, and notes what the answer says about the server's log.
func (t *transport) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	args.Entries = args.Entries[:fitting(args.Entries)] // raft sees which were sent, and sends the others next
	var commit uint64
	if r := t.raft.Load(); r != nil {
		commit = r.CommitIndex()
	}
	if err := t.NetworkTransport.AppendEntries(id, target, args, resp); err != nil {
		return err
	}
	if !resp.Success {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.peers[id]
	// Compared with what was committed one exchange earlier: under load the newest entries are always still on their way.
	fresh := time.Since(before.when) < t.cfg.HeartbeatTimeout
	t.peers[id] = progress{
		last: resp.LastLog, when: time.Now(), commit: commit,
		caughtUp: fresh && before.commit > 0 && resp.LastLog >= before.commit,
	}
	return nil
}

// progressOf returns what is known of a server's log.
func (t *transport) progressOf(id string) progress {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.peers[raft.ServerID(id)]
}

// streams is the caller's stream layer, remembering every open connection: raft's transport forgets those it accepted and those
// in its pool, and a server that gives itself up must fall silent at once.
type streams struct {
	raft.StreamLayer
	addr    net.Addr
	hungUp  chan struct{} // has something in it after a server that had connected to this one hung up
	closing context.Context
	cancel  context.CancelFunc

	mu     sync.Mutex
	conns  map[*stream]struct{}
	dials  context.Context // ends with drop, too
	refuse context.CancelFunc
	once   sync.Once
	err    error
}

// address is a host:port that may be a name.
type address string

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }

func newStreams(cfg Config) *streams {
	s := &streams{StreamLayer: cfg.Transport, addr: cfg.Transport.Addr(), hungUp: make(chan struct{}, 1), conns: map[*stream]struct{}{}}
	if cfg.Address != "" {
		s.addr = address(cfg.Address)
	}
	s.closing, s.cancel = context.WithCancel(context.Background())
	s.dials, s.refuse = context.WithCancel(s.closing)
	return s
}

// Addr is where the other servers reach this one.
func (s *streams) Addr() net.Addr { return s.addr }

// Close stops listening and closes every connection.
func (s *streams) Close() error { return s.closeAll() }

func (s *streams) closeAll() error {
	s.once.Do(func() {
		s.cancel()
		s.err = s.StreamLayer.Close()
	})
	s.drop()
	return s.err
}

// drop closes every connection and gives up every dial, and goes on listening.
func (s *streams) drop() {
	s.mu.Lock()
	open := s.conns
	s.conns = map[*stream]struct{}{}
	s.refuse()
	s.dials, s.refuse = context.WithCancel(s.closing)
	s.mu.Unlock()
	for c := range open {
		_ = c.Conn.Close() // given up either way
	}
}

// Accept returns the next connection of another server.
func (s *streams) Accept() (net.Conn, error) {
	c, err := s.StreamLayer.Accept()
	if err != nil {
		return nil, err
	}
	st, err := s.track(c)
	if err != nil {
		return nil, err
	}
	return &acceptedStream{stream: st, hungUp: s.hungUp}, nil
}

// Dial connects to another server.
func (s *streams) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	if s.closing.Err() != nil {
		return nil, net.ErrClosed
	}
	c, err := s.dial(addr, timeout)
	if err != nil {
		return nil, fmt.Errorf("dial raft server at %s: %w", addr, err)
	}
	st, err := s.track(c)
	if err != nil {
		return nil, err
	}
	return st, nil
}

func (s *streams) dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	d, ok := s.StreamLayer.(ContextDialer)
	if !ok {
		return s.StreamLayer.Dial(addr, timeout)
	}
	s.mu.Lock()
	ctx := s.dials
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return d.DialContext(ctx, addr)
}

func (s *streams) track(c net.Conn) (*stream, error) {
	st := &stream{Conn: c, of: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Err() != nil {
		_ = c.Close() // given up either way
		return nil, net.ErrClosed
	}
	s.conns[st] = struct{}{}
	return st, nil
}

// stream is one remembered connection.
type stream struct {
	net.Conn
	of *streams
}

// Close closes and forgets the connection.
func (st *stream) Close() error {
	st.of.mu.Lock()
	delete(st.of.conns, st)
	st.of.mu.Unlock()
	return st.Conn.Close()
}
