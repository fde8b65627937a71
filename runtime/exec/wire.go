package exec

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// controlFile is the socket in a task's directory at which its init takes further commands. A command is started by init, so that
// it has the task's namespaces and limits from the first instant, also where nobody else could enter them. It dies with the
// connection over which it was ordered.
const controlFile = "control"

// maxCall bounds the order of a command.
const maxCall = 1 << 20

// call is the order of a command. The descriptors of its streams come with it: one, a terminal, or three.
type call struct {
	Command string
	Args    []string // with the command as the first
	Env     []string
	Dir     string
	User    *credential
	TTY     bool
	Mark    string // entry of Env by which what came of it is found
}

// answer is what init says of a command, first that it runs or cannot, then how it ended.
type answer struct {
	PID     int    `json:",omitempty"` // as init sees it
	Error   string `json:",omitempty"`
	Missing bool   `json:",omitempty"` // there is no such program
	Ended   bool   `json:",omitempty"`
	Code    int    `json:",omitempty"`
}

// listenControl makes the socket. Its path may be longer than the name of a socket can be.
func listenControl(dir *os.File) (*os.File, error) {
	path := controlPath(dir)
	_ = os.Remove(path) // of an earlier run, if any
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen for commands: %w", err)
	}
	defer l.Close()
	l.SetUnlinkOnClose(false)
	return l.File()
}

func controlPath(dir *os.File) string {
	return "/proc/self/fd/" + strconv.Itoa(int(dir.Fd())) + "/" + controlFile
}

// dialControl connects to a task's init.
func (t *task) dialControl() (*net.UnixConn, error) {
	if _, err := os.Lstat(filepath.Join(t.dir, controlFile)); err != nil {
		return nil, fmt.Errorf("the task was started by an earlier version of the agent, or its state was lost: restart it to run commands in it: %w", err)
	}
	dir, err := os.Open(t.dir)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return net.DialUnix("unix", nil, &net.UnixAddr{Name: controlPath(dir), Net: "unix"})
}

// sendCall sends an order with its descriptors.
func sendCall(conn *net.UnixConn, c call, files []*os.File) error {
	data, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if len(data) > maxCall {
		return fmt.Errorf("the command and its environment have %d bytes, at most %d can be passed on", len(data), maxCall)
	}
	fds := make([]int, len(files))
	for i, f := range files {
		fds[i] = int(f.Fd())
	}
	head := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
	if _, _, err := conn.WriteMsgUnix(head, unix.UnixRights(fds...), nil); err != nil {
		return err
	}
	_, err = conn.Write(data)
	return err
}

// readCall reads an order. The caller closes the descriptors.
func readCall(conn *net.UnixConn) (call, []int, error) {
	var c call
	head, oob := make([]byte, 4), make([]byte, 256)
	n, oobn, _, _, err := conn.ReadMsgUnix(head, oob)
	if err != nil {
		return c, nil, err
	}
	fds, err := rights(oob[:oobn])
	if err != nil {
		return c, fds, err
	}
	if _, err := io.ReadFull(conn, head[n:]); err != nil {
		return c, fds, err
	}
	size := binary.BigEndian.Uint32(head)
	if size > maxCall {
		return c, fds, errors.New("the order is too long")
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(conn, data); err != nil {
		return c, fds, err
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return c, fds, err
	}
	if want := 3; len(fds) != want && !(c.TTY && len(fds) == 1) || len(c.Args) == 0 {
		return c, fds, errors.New("the order is not whole")
	}
	return c, fds, nil
}

// rights are the descriptors in a message.
func rights(oob []byte) ([]int, error) {
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var fds []int
	for i := range messages {
		got, err := syscall.ParseUnixRights(&messages[i])
		if err != nil {
			return fds, err
		}
		fds = append(fds, got...)
	}
	return fds, nil
}
