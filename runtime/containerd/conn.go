package containerd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	_ "github.com/containerd/containerd/api/events" // makes the daemon's events decode
	introspection "github.com/containerd/containerd/api/services/introspection/v1"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/dialer"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/drover-io/drover/runtime"
)

const (
	dialTimeout   = 3 * time.Second
	reviveTimeout = 10 * time.Second // others wait meanwhile; who needs longer comes again
	embeddedName  = "embedded"       // in the file that remembers the choice
)

// session is one use of the daemon.
type session struct {
	*client.Client
	address     string
	snapshotter string
	root        string // where the snapshotter keeps images unpacked
	version     string
	embedded    bool
}

// connection finds the daemon and keeps one client for it. gRPC reconnects by itself; what is done here is to choose the daemon
// once, and to start our own again when it is that one and it died.
type connection struct {
	cfg    Config
	log    hclog.Logger
	mu     sync.Mutex
	cur    *session
	daemon *Daemon
}

func (c *connection) init(cfg Config, logger hclog.Logger) { c.cfg, c.log = cfg, logger }

func (c *connection) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cur == nil {
		return nil
	}
	cur := c.cur
	c.cur = nil
	return cur.Close()
}

// session returns the connection to the daemon, and the context for its calls. The daemon may still go away between two calls.
func (d *Driver) session(ctx context.Context) (*session, context.Context, error) {
	s, err := d.conn.get(ctx)
	// The client writes to a logger of its own, on stderr, what comes back as errors anyway.
	ctx = log.WithLogger(ctx, d.quiet)
	return s, namespaces.WithNamespace(ctx, d.cfg.Namespace), err
}

func (c *connection) get(ctx context.Context) (*session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cur != nil {
		return c.cur, c.revive(ctx)
	}
	address, embedded, err := c.choose(ctx)
	if err != nil {
		return nil, err
	}
	s, err := connect(ctx, address)
	if err != nil {
		return nil, err
	}
	s.embedded = embedded
	c.remember(address, embedded)
	c.cur = s
	c.log.Info("connected to containerd", "address", address, "version", s.version, "embedded", embedded, "snapshotter", s.snapshotter)
	return s, nil
}

// revive starts our own daemon again if it died, and has gRPC connect to it at once instead of after its back-off.
func (c *connection) revive(ctx context.Context) error {
	if c.daemon == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, reviveTimeout)
	defer cancel()
	waited, err := c.daemon.Ensure(ctx)
	if err != nil || !waited {
		return unavailable(err)
	}
	conn, ok := c.cur.Conn().(*grpc.ClientConn)
	if !ok {
		return nil
	}
	conn.ResetConnectBackoff()
	for {
		conn.Connect()
		st := conn.GetState()
		if st == connectivity.Ready {
			return nil
		}
		if !conn.WaitForStateChange(ctx, st) {
			return unavailable(ctx.Err())
		}
	}
}

// choose says which daemon to use, and starts our own when it is that one.
func (c *connection) choose(ctx context.Context) (address string, embedded bool, err error) {
	if c.cfg.Address != "" {
		return c.cfg.Address, false, nil
	}
	switch was := c.remembered(); {
	case was == embeddedName:
	case was != "":
		if !listens(was) {
			return "", false, fmt.Errorf("connect to containerd at %s, which this node chose earlier; start it, or stop the agent and remove %s to choose again: %w",
				was, c.choiceFile(), runtime.ErrUnavailable)
		}
		return was, false, nil
	case listens(HostAddress):
		return HostAddress, false, nil
	}
	if c.cfg.SelfExe == "" || c.cfg.DataDir == "" {
		return "", false, fmt.Errorf("find containerd: nothing listens at %s: %w", HostAddress, runtime.ErrUnavailable)
	}
	if c.daemon == nil {
		c.daemon = NewDaemon(DaemonConfig{Exe: c.cfg.SelfExe, Dir: c.cfg.dir(), NoSync: c.cfg.NoSync, Logger: c.log})
	}
	if _, err := c.daemon.Ensure(ctx); err != nil {
		return "", false, unavailable(err)
	}
	return c.daemon.Address(), true, nil
}

func (c *connection) choiceFile() string { return filepath.Join(c.cfg.dir(), "daemon") }

func (c *connection) remembered() string {
	if c.cfg.DataDir == "" {
		return ""
	}
	b, err := os.ReadFile(c.choiceFile())
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func (c *connection) remember(address string, embedded bool) {
	if c.cfg.Address != "" || c.cfg.DataDir == "" {
		return
	}
	if embedded {
		address = embeddedName
	}
	err := os.MkdirAll(c.cfg.dir(), 0o700)
	if err == nil {
		err = writeFile(c.choiceFile(), address+"\n")
	}
	if err != nil {
		c.log.Warn("cannot remember which containerd this node uses", "error", err)
	}
}

// listens reports whether somebody accepts connections at the socket: a file alone may be left over from a daemon that is gone.
func listens(socket string) bool {
	conn, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

func connect(ctx context.Context, address string) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	cl, err := newClient(address)
	if err != nil {
		return nil, err
	}
	v, err := cl.Version(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect to containerd at %s: %w: %w", address, runtime.ErrUnavailable, err), cl.Close())
	}
	s := &session{Client: cl, address: address, version: cleanVersion(v.Version)}
	if s.snapshotter, s.root, err = chooseSnapshotter(ctx, cl.IntrospectionService()); err != nil {
		return nil, errors.Join(err, cl.Close())
	}
	return s, nil
}

// newClient makes a client that looks for a daemon that went away often enough not to be noticed.
func newClient(address string) (*client.Client, error) {
	cl, err := client.New(address, client.WithTimeout(dialTimeout), client.WithDialOpts([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(dialer.ContextDialer),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.5, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: dialTimeout,
		}),
	}))
	if err != nil {
		return nil, fmt.Errorf("make client for containerd at %s: %w", address, err)
	}
	return cl, nil
}

// chooseSnapshotter takes overlayfs where the daemon could load it, and plain copies where it could not (a data directory that is
// itself on an overlay). root is its directory.
func chooseSnapshotter(ctx context.Context, is interface {
	Plugins(ctx context.Context, filters ...string) (*introspection.PluginsResponse, error)
}) (name, root string, err error) {
	res, err := is.Plugins(ctx, "type==io.containerd.snapshotter.v1")
	if err != nil {
		return "", "", fmt.Errorf("list containerd's snapshotters: %w: %w", runtime.ErrUnavailable, err)
	}
	loaded, roots := map[string]bool{}, map[string]string{}
	for _, p := range res.Plugins {
		loaded[p.ID], roots[p.ID] = p.InitErr == nil, p.Exports["root"]
	}
	for _, name := range []string{"overlayfs", "native"} {
		if loaded[name] {
			return name, cmp.Or(roots[name], "/"), nil
		}
	}
	return "", "", errors.New("containerd has neither the overlayfs nor the native snapshotter")
}

// explain adds what was done to an error of the daemon, and says when it is only that the daemon is away.
func explain(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	what := fmt.Sprintf(format, args...)
	if isAway(err) && !errors.Is(err, runtime.ErrUnavailable) {
		return fmt.Errorf("%s: %w: %w", what, runtime.ErrUnavailable, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

func unavailable(err error) error {
	if err == nil || errors.Is(err, runtime.ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", runtime.ErrUnavailable, err)
}

// isAway reports whether err says that nobody answered. The client does not map refused connections, hence the texts.
func isAway(err error) bool {
	if errors.Is(err, runtime.ErrUnavailable) || errdefs.IsUnavailable(err) || errdefs.IsDeadlineExceeded(err) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	text := err.Error()
	for _, sign := range []string{"connection refused", "transport is closing", "error reading from server", "ttrpc: closed"} {
		if strings.Contains(text, sign) {
			return true
		}
	}
	return false
}

// pause waits for d, or less when ctx ends first.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// writeFile replaces a small file whole.
func writeFile(path, text string) error {
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
