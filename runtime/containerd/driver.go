package containerd

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/sirupsen/logrus"
	"golang.org/x/sync/singleflight"

	"github.com/drover-io/drover/runtime"
)

// HostAddress is where a host's own containerd listens.
const HostAddress = "/run/containerd/containerd.sock"

// Config says which daemon to use and whose containers they are.
type Config struct {
	Address   string        // unix socket of the daemon; "" means the host's where one answers, else our own
	Namespace string        // containerd's namespace; "" means "drover"
	NodeID    string        // only containers with this node label are seen
	ClusterID func() string // the cluster's ID once it is known; nil, or "" before that
	DataDir   string        // <data>; the driver keeps <data>/containerd
	SelfExe   string        // our binary, started again as "containerd …" for a daemon of our own; "" means never do that
	RuncPath  string        // "" means runc in the daemon's PATH
	Policy    Policy        // what jobs may ask for
	Pulls     PullConfig    // where images come from
	Images    ImageGC       // which of them go when nobody uses them
	Pids      int64         // processes of a task that says nothing; 0 means 4096
	NoSync    bool          // our own daemon's database is not synced to disk: for tests only
	Logger    hclog.Logger
}

// Driver runs tasks as containers. Open makes one.
type Driver struct {
	cfg    Config
	log    hclog.Logger
	ctx    context.Context // of image pulls, which are shared by callers; ends with Close
	cancel context.CancelFunc
	bootID string
	retry  retryPolicy
	quiet  *logrus.Entry

	conn    connection
	tasks   keyedLock          // one operation at a time per container
	cgroups sync.RWMutex       // held for writing while empty cgroup parents are removed, for reading while one is made below
	fetches singleflight.Group // images being fetched
	pulls   transferBoard      // how far they are
	volumes keyedLock          // named volumes being made
	init    initBinary
	pinning sync.Mutex // of the network namespace: tasks start together, and one must not take away what the other mounts
	hashes  hashCache  // of image files
	shelf   imageShelf // imported images
	runcs   runcCache
}

var (
	_ runtime.Driver       = (*Driver)(nil)
	_ runtime.ImagePuller  = (*Driver)(nil)
	_ runtime.PullWatcher  = (*Driver)(nil)
	_ runtime.Tidier       = (*Driver)(nil)
	_ runtime.Confiner     = (*Driver)(nil)
	_ runtime.OutputCopier = (*Driver)(nil)
)

// Open makes a driver. It does not connect: the daemon is looked for, or started, at the first use, and again whenever it is away.
func Open(cfg Config) (*Driver, error) {
	if cfg.NodeID == "" {
		return nil, errors.New("open containerd driver: no node ID given")
	}
	if cfg.Namespace == "" {
		cfg.Namespace = "drover"
	}
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	if cfg.ClusterID == nil {
		cfg.ClusterID = func() string { return "" }
	}
	boot, err := readBootID()
	if err != nil {
		return nil, err
	}
	d := &Driver{cfg: cfg, log: cfg.Logger.Named("containerd"), bootID: boot, retry: defaultRetry(), quiet: quietEntry()}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.conn.init(cfg, d.log)
	d.sweepCommands()
	return d, nil
}

// Name is "containerd".
func (d *Driver) Name() string { return "containerd" }

// InContainer says that tasks see their directories at /alloc, /local and /secrets.
func (d *Driver) InContainer() bool { return true }

// OutputLag is how long after a container's end the shim, which copies its output from pipes, may still write.
func (d *Driver) OutputLag() time.Duration { return time.Second }

// Close ends running image pulls and the connection. Containers, and a daemon of our own, run on.
func (d *Driver) Close() error {
	d.cancel()
	return d.conn.close()
}

// Daemon is the daemon of our own, or nil while the driver uses another one.
func (d *Driver) Daemon() *Daemon {
	d.conn.mu.Lock()
	defer d.conn.mu.Unlock()
	return d.conn.daemon
}

func quietEntry() *logrus.Entry {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return logrus.NewEntry(l)
}

// dir is where the driver keeps its files.
func (c Config) dir() string { return filepath.Join(c.DataDir, "containerd") }
