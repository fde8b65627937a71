package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/drover-io/drover/e2e/fleet"
	"github.com/drover-io/drover/e2e/gauge"
	"github.com/drover-io/drover/internal/waitfor"
)

// etcd is three members of Debian's etcd-server, with the defaults of that package, as processes of this machine.
type etcd struct {
	version string
	members []*member
}

// member is one of them.
type member struct {
	addr  string // where clients ask
	cmd   *exec.Cmd
	wg    sync.WaitGroup
	ended chan struct{}
}

// startEtcd starts three members below dir and waits until they take puts.
func startEtcd(ctx context.Context, binary, dir string) (*etcd, error) {
	path, err := exec.LookPath(binary)
	if err != nil {
		return nil, fmt.Errorf("find etcd: %w; install the package etcd-server (make deps-bench), or leave the comparison out with --etcd \"\"", err)
	}
	text, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("ask etcd for its version: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	e := &etcd{version: strings.TrimPrefix(line, "etcd Version: ")}
	ports, err := fleet.FreePorts(6)
	if err != nil {
		return nil, err
	}
	var cluster []string
	for i := range 3 {
		cluster = append(cluster, fmt.Sprintf("e%d=http://127.0.0.1:%d", i, ports[2*i+1]))
	}
	for i := range 3 {
		m, err := startMember(path, filepath.Join(dir, fmt.Sprintf("etcd%d", i)), fmt.Sprintf("e%d", i), ports[2*i], ports[2*i+1], strings.Join(cluster, ","))
		if err != nil {
			return nil, errors.Join(err, e.close())
		}
		e.members = append(e.members, m)
	}
	for i := range e.members {
		if _, err := waitfor.True(ctx, 30*time.Second, 100*time.Millisecond, func(ctx context.Context) error { return e.putOnce(ctx, i) }); err != nil {
			return nil, errors.Join(fmt.Errorf("wait for member %d of etcd: %w", i, err), e.close())
		}
	}
	return e, nil
}

func startMember(path, dir, name string, clients, peers int, cluster string) (*member, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	out, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	m := &member{addr: fmt.Sprintf("127.0.0.1:%d", clients), ended: make(chan struct{})}
	at, to := "http://"+m.addr, fmt.Sprintf("http://127.0.0.1:%d", peers)
	m.cmd = exec.Command(path, "--name", name, "--data-dir", filepath.Join(dir, "data"), "--listen-client-urls", at, "--advertise-client-urls", at,
		"--listen-peer-urls", to, "--initial-advertise-peer-urls", to, "--initial-cluster", cluster, "--initial-cluster-state", "new", "--logger", "zap",
		"--log-level", "error")
	m.cmd.Stdout, m.cmd.Stderr = out, out
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start etcd: %w", err), out.Close())
	}
	m.wg.Go(func() {
		defer close(m.ended)
		_ = m.cmd.Wait() // killed, or its log says why
		_ = out.Close()  // written by the process alone
	})
	return m, nil
}

// close ends every member.
func (e *etcd) close() error {
	var errs []error
	for _, m := range e.members {
		if err := m.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			errs = append(errs, err)
		}
		m.wg.Wait()
	}
	return errors.Join(errs...)
}

// used is the members' processor time.
func (e *etcd) used() (sum time.Duration, err error) {
	for _, m := range e.members {
		u, err := gauge.ReadUsage(m.cmd.Process.Pid)
		if err != nil {
			return 0, err
		}
		sum += u.CPU
	}
	return sum, nil
}

func (e *etcd) putOnce(ctx context.Context, i int) error {
	select {
	case <-e.members[i].ended:
		return errors.New("it ended, look at its log")
	default:
	}
	c, err := e.client(i)
	if err != nil {
		return err
	}
	defer c.close()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return c.put(ctx, []byte("ready"), []byte("yes"))
}

// keys counts the keys with a prefix that a member holds itself.
func (e *etcd) keys(ctx context.Context, i int, prefix string) (uint64, error) {
	c, err := e.client(i)
	if err != nil {
		return 0, err
	}
	defer c.close()
	end := []byte(prefix)
	end[len(end)-1]++
	var q []byte // RangeRequest: key 1, range_end 2, serializable 7, count_only 9
	q = protowire.AppendBytes(protowire.AppendTag(q, 1, protowire.BytesType), []byte(prefix))
	q = protowire.AppendBytes(protowire.AppendTag(q, 2, protowire.BytesType), end)
	q = protowire.AppendVarint(protowire.AppendTag(q, 7, protowire.VarintType), 1)
	q = protowire.AppendVarint(protowire.AppendTag(q, 9, protowire.VarintType), 1)
	var resp []byte
	if err := c.conn.Invoke(ctx, "/etcdserverpb.KV/Range", q, &resp, grpc.ForceCodec(plain{})); err != nil {
		return 0, err
	}
	for len(resp) > 0 { // RangeResponse: count 4
		number, kind, n := protowire.ConsumeTag(resp)
		if n < 0 {
			return 0, protowire.ParseError(n)
		}
		resp = resp[n:]
		if number == 4 && kind == protowire.VarintType {
			count, n := protowire.ConsumeVarint(resp)
			return count, protowire.ParseError(min(n, 0))
		}
		if n = protowire.ConsumeFieldValue(number, kind, resp); n < 0 {
			return 0, protowire.ParseError(n)
		}
		resp = resp[n:]
	}
	return 0, nil // proto leaves a zero out
}

// etcdClient is one client of one member, with a connection of its own.
type etcdClient struct {
	conn *grpc.ClientConn
	next func() (key, value []byte) // of the next put
}

func (e *etcd) client(i int) (*etcdClient, error) {
	conn, err := grpc.NewClient("passthrough:///"+e.members[i].addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	return &etcdClient{conn: conn}, nil
}

func (c *etcdClient) do(ctx context.Context) error {
	key, value := c.next()
	return c.put(ctx, key, value)
}

// put stores a value, by etcd's own protocol. Its client library is not needed for one message of two fields, and costs the machine
// more than this.
func (c *etcdClient) put(ctx context.Context, key, value []byte) error {
	q := make([]byte, 0, len(key)+len(value)+16) // PutRequest: key 1, value 2
	q = protowire.AppendBytes(protowire.AppendTag(q, 1, protowire.BytesType), key)
	q = protowire.AppendBytes(protowire.AppendTag(q, 2, protowire.BytesType), value)
	var resp []byte
	return c.conn.Invoke(ctx, "/etcdserverpb.KV/Put", q, &resp, grpc.ForceCodec(plain{}))
}

func (c *etcdClient) close() { _ = c.conn.Close() } // nothing is on its way

// plain passes messages through that are encoded already.
type plain struct{}

// Marshal returns the message.
func (plain) Marshal(v any) ([]byte, error) {
	b, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("send a %T: want bytes", v)
	}
	return b, nil
}

// Unmarshal keeps the message.
func (plain) Unmarshal(data []byte, v any) error {
	to, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("receive a %T: want bytes", v)
	}
	*to = append((*to)[:0], data...)
	return nil
}

// Name is the codec's.
func (plain) Name() string { return "proto" }
