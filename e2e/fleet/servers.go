package fleet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/e2e/gauge"
	"github.com/drover-io/drover/internal/waitfor"
)

// Setting is the one setting of the servers that a cluster of machines must not have; benchmarks name it in their output.
const Setting = "server.lease_only = true"

// formTimeout bounds how long servers may take to elect a leader.
const formTimeout = time.Minute

// Server is one server: a process of the real binary on this machine's loopback interface.
type Server struct {
	Name string
	Dir  string // its data and its log
	API  *api.Client
	Peer string // address of the peer listener

	drover, config string
	id             string // node ID, once asked

	wg    sync.WaitGroup
	mu    sync.Mutex
	cmd   *exec.Cmd
	ended chan struct{}
	spent time.Duration // processor time of its processes that have ended
}

// Servers are the servers of one cluster.
type Servers []*Server

// RaftTimeout is the servers' own default of server.raft_timeout.
const RaftTimeout = 1500 * time.Millisecond

// StartServers starts n servers below dir and waits for a leader. The disk must be one. Where others use the machine too, servers that
// are not given the processor for a quarter of a second would lose leadership to nobody's fault: raftTimeout is longer there.
func StartServers(ctx context.Context, drover, dir string, n int, raftTimeout time.Duration) (Servers, error) {
	if _, fileSystem := gauge.DiskOf(dir); fileSystem == "tmpfs" || fileSystem == "ramfs" {
		return nil, fmt.Errorf("%s is in memory (%s): an fsync there means nothing; name a directory on a disk with --dir", dir, fileSystem)
	}
	ports, err := FreePorts(3 * n)
	if err != nil {
		return nil, err
	}
	var join []string
	for i := range n {
		join = append(join, fmt.Sprintf("\"127.0.0.1:%d\"", ports[3*i+2]))
	}
	var all Servers
	for i := range n {
		s, err := newServer(drover, dir, fmt.Sprintf("s%d", i+1), ports[3*i:3*i+3], n, join, raftTimeout)
		if err == nil {
			err = s.Start()
		}
		if err != nil {
			return nil, errors.Join(err, all.Close())
		}
		all = append(all, s)
	}
	if _, err := all.WaitLeader(ctx, formTimeout); err != nil {
		return nil, errors.Join(fmt.Errorf("form a cluster: %w", err), all.Close())
	}
	return all, nil
}

func newServer(drover, dir, name string, ports []int, expect int, join []string, raftTimeout time.Duration) (*Server, error) {
	s := &Server{Name: name, Dir: filepath.Join(dir, name), Peer: fmt.Sprintf("127.0.0.1:%d", ports[1]), drover: drover}
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return nil, err
	}
	s.config = filepath.Join(s.Dir, "agent.hcl")
	text := fmt.Sprintf(`name      = %q
data_dir  = %q
bind_addr = "127.0.0.1"
log_level = "warn"

ports {
  http = %d
  rpc  = %d
  serf = %d
}

server {
  enabled          = true
  bootstrap_expect = %d
  retry_join       = [%s]
  lease_only       = true # its nodes are simulated
  raft_timeout     = %q
}
`, name, filepath.Join(s.Dir, "data"), ports[0], ports[1], ports[2], expect, strings.Join(join, ", "), raftTimeout.String())
	if err := os.WriteFile(s.config, []byte(text), 0o644); err != nil {
		return nil, err
	}
	var err error
	s.API, err = api.New(api.Config{Addr: fmt.Sprintf("http://127.0.0.1:%d", ports[0])})
	return s, err
}

// FreePorts are TCP ports of the loopback interface that nobody listens on.
func FreePorts(n int) ([]int, error) {
	var ports []int
	var held []net.Listener
	defer func() {
		for _, l := range held {
			_ = l.Close() // it was only to find the port
		}
	}()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		held = append(held, l)
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// Start starts the server's process on its data directory.
func (s *Server) Start() error {
	out, err := os.OpenFile(filepath.Join(s.Dir, "agent.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	cmd := exec.Command(s.drover, "agent", "--config", s.config)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return errors.Join(err, out.Close())
	}
	ended := make(chan struct{})
	s.mu.Lock()
	s.cmd, s.ended = cmd, ended
	s.mu.Unlock()
	s.wg.Go(func() {
		defer close(ended)
		_ = cmd.Wait()  // killed, or its log says why
		_ = out.Close() // written by the process alone
	})
	return nil
}

// Kill kills the process -9 and waits until it is gone.
func (s *Server) Kill() error {
	used, err := s.Usage()
	if err != nil {
		return err
	}
	s.mu.Lock()
	cmd, ended := s.cmd, s.ended
	s.mu.Unlock()
	if err := cmd.Process.Kill(); err != nil {
		return fmt.Errorf("kill server %s: %w", s.Name, err)
	}
	<-ended
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spent = used.CPU
	return nil
}

// Alive reports whether the process is there.
func (s *Server) Alive() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.ended:
		return false
	default:
		return true
	}
}

// PID is the present process.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cmd.Process.Pid
}

// Usage is what the server has used: the processor time of all its processes, the memory of the present one.
func (s *Server) Usage() (gauge.Usage, error) {
	u, err := gauge.ReadUsage(s.PID())
	s.mu.Lock()
	defer s.mu.Unlock()
	u.CPU += s.spent
	return u, err
}

// State is what the server itself holds.
func (s *Server) State(ctx context.Context) (*api.StateView, error) {
	v, _, err := s.API.State(ctx, api.QueryOptions{Stale: true})
	return v, err
}

// HTTP is the address of the users' listener, host and port.
func (s *Server) HTTP() string { return strings.TrimPrefix(s.API.Addr(), "http://") }

// ID is the server's node ID.
func (s *Server) ID(ctx context.Context) (string, error) {
	if s.id == "" {
		self, err := s.API.AgentSelf(ctx)
		if err != nil {
			return "", err
		}
		s.id = self.NodeID
	}
	return s.id, nil
}

// Close kills every process and waits until they are gone. The data stays.
func (all Servers) Close() error {
	var errs []error
	for _, s := range all {
		if s.Alive() {
			errs = append(errs, s.Kill())
		}
		s.wg.Wait()
		s.API.Close()
	}
	return errors.Join(errs...)
}

// Leader is the server that answers as the leader.
func (all Servers) Leader(ctx context.Context) (*Server, error) {
	err := errors.New("no server is running")
	for _, s := range all {
		if !s.Alive() {
			continue
		}
		try, cancel := context.WithTimeout(ctx, 2*time.Second)
		var v *api.StateView
		v, _, err = s.API.State(try, api.QueryOptions{})
		cancel()
		if err != nil {
			continue
		}
		for _, l := range all {
			if id, idErr := l.ID(ctx); idErr == nil && id == v.NodeID {
				return l, nil
			}
		}
	}
	return nil, fmt.Errorf("find the leader: %w", err)
}

// WaitLeader waits until one of the servers answers as the leader.
func (all Servers) WaitLeader(ctx context.Context, limit time.Duration) (l *Server, err error) {
	_, err = waitfor.True(ctx, limit, 50*time.Millisecond, func(ctx context.Context) error {
		l, err = all.Leader(ctx)
		return err
	})
	return l, err
}

// Rows is the largest number of rows of a table that a live server holds: with raft, what is applied anywhere is committed.
func (all Servers) Rows(ctx context.Context, table string) int {
	most := 0
	for _, s := range all {
		if !s.Alive() {
			continue
		}
		try, cancel := context.WithTimeout(ctx, 2*time.Second)
		if v, err := s.State(try); err == nil {
			most = max(most, v.Rows(table))
		}
		cancel()
	}
	return most
}

// WaitQuiet waits until every server has applied the same entry and nothing more came for a while; it returns what they hold.
func (all Servers) WaitQuiet(ctx context.Context, limit, still time.Duration) (views []*api.StateView, err error) {
	var index uint64
	since := time.Now()
	_, err = waitfor.True(ctx, limit, 100*time.Millisecond, func(ctx context.Context) error {
		views = nil
		for _, s := range all {
			v, err := s.State(ctx)
			if err != nil {
				return fmt.Errorf("read the state of server %s: %w", s.Name, err)
			}
			if v.Index != index {
				index, since = v.Index, time.Now()
			}
			views = append(views, v)
		}
		if quiet := time.Since(since); quiet < still {
			return fmt.Errorf("the servers are at index %d and go on", index)
		}
		return nil
	})
	return views, err
}
