package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// insideFake is the inside of the allocations of a fake agent.
type insideFake struct {
	a *agent

	mu      sync.Mutex
	signals []string
	running int   // commands
	ended   error // why the last one was ended
	packed  []byte
}

func (f *insideFake) owns(allocID string) error {
	if !f.a.Owns(allocID) {
		return NewError(CodeNotFound, "", "no allocation %s", allocID)
	}
	return nil
}

// Exec runs one of a few words.
func (f *insideFake) Exec(_ context.Context, req ExecRequest) (ExecFunc, error) {
	if err := f.owns(req.AllocID); err != nil {
		return nil, err
	}
	if req.Task == "none" {
		return nil, NewError(CodeNotFound, "", "no task %s", req.Task)
	}
	return func(ctx context.Context, x ExecIO) (int, error) {
		f.count(1)
		defer f.count(-1)
		switch req.Command[0] {
		case "whoami":
			_, err := fmt.Fprint(x.Stdout, f.a.id)
			return 0, err
		case "cat":
			_, err := io.Copy(x.Stdout, x.Stdin)
			return 7, err
		case "hang":
			<-ctx.Done()
			f.mu.Lock()
			f.ended = context.Cause(ctx)
			f.mu.Unlock()
			return -1, context.Cause(ctx)
		case "size":
			s := <-x.Resize
			_, err := fmt.Fprintf(x.Stderr, "%dx%d", s.Width, s.Height)
			return 0, err
		case "flood":
			_, err := x.Stdout.Write(bytes.Repeat([]byte("x"), 1<<20))
			return 0, err
		}
		return 127, NewError(CodeInvalid, "", "command %q not found", req.Command[0])
	}, nil
}

func (f *insideFake) count(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running += n
}

func (f *insideFake) state() (running int, ended error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.running, f.ended
}

// Signal notes the signal.
func (f *insideFake) Signal(_ context.Context, allocID, task, signal string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.signals = append(f.signals, allocID+"/"+task+" "+signal)
	return nil
}

// Stats is a figure.
func (f *insideFake) Stats(context.Context, string) (*AllocStats, error) {
	return &AllocStats{Tasks: map[string]TaskStats{"server": {Timestamp: 1}}, Timestamp: 1}, nil
}

// MachineStats names the agent.
func (f *insideFake) MachineStats(context.Context) (*MachineStats, error) {
	return &MachineStats{NodeID: f.a.id, Allocs: map[string]AllocStats{}}, nil
}

// DialPort connects to what says a word and then repeats what it hears.
func (f *insideFake) DialPort(_ context.Context, allocID, port string) (net.Conn, error) {
	if port == "none" {
		return nil, NewError(CodeInvalid, "", "no port none")
	}
	here, there := net.Pipe()
	f.a.wg.Go(func() {
		defer there.Close()
		_, _ = fmt.Fprintf(there, "%s %s\n", f.a.id, port)
		_, _ = io.Copy(there, there)
	})
	return here, nil
}

// Files has one file.
func (f *insideFake) Files(allocID, task string) (Files, error) {
	if err := f.owns(allocID); err != nil {
		return nil, err
	}
	return filesFake{f}, nil
}

type filesFake struct{ f *insideFake }

func (x filesFake) List(path string) ([]FileInfo, error) {
	return []FileInfo{{Name: "hello.txt", Size: 5, FileMode: "-rw-r--r--"}}, x.check(path)
}
func (x filesFake) Stat(path string) (FileInfo, error) {
	return FileInfo{Name: "hello.txt", Size: 5}, x.check(path)
}
func (x filesFake) Open(path string) (File, error) {
	return fileFake{strings.NewReader("hello")}, x.check(path)
}
func (x filesFake) Pack(_ context.Context, path string, w io.Writer) error {
	_, err := io.WriteString(w, "an archive")
	return err
}
func (x filesFake) Unpack(_ context.Context, path string, r io.Reader) error {
	data, err := io.ReadAll(r)
	x.f.mu.Lock()
	defer x.f.mu.Unlock()
	x.f.packed = data
	return err
}
func (x filesFake) check(path string) error {
	if strings.Contains(path, "secrets") {
		return NewError(CodeForbidden, "", "secrets are for the task alone")
	}
	return nil
}

type fileFake struct{ *strings.Reader }

func (fileFake) Close() error           { return nil }
func (f fileFake) Size() (int64, error) { return f.Reader.Size(), nil }

// handshake are the headers that open a websocket.
func handshake() http.Header {
	return http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}}
}

func matrixExec(t *testing.T, m *matrix, _ *Route, addr string) {
	var out bytes.Buffer
	code, err := m.h.clientAt(addr, Config{}).Exec(t.Context(), ExecRequest{AllocID: m.alloc, Command: []string{"whoami"}}, ExecIO{Stdout: &out})
	if code != 0 || err != nil || out.String() != "c1" {
		t.Errorf("exit code %d, %v, output %q, want the owner's", code, err, out.String())
	}
}

func matrixForward(t *testing.T, m *matrix, _ *Route, addr string) {
	here, there := net.Pipe()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		if err := m.h.clientAt(addr, Config{}).ForwardPort(t.Context(), m.alloc, "http", there); err != nil {
			t.Error(err)
		}
	})
	buf := make([]byte, 8)
	if _, err := io.ReadFull(here, buf); err != nil || string(buf) != "c1 http\n" {
		t.Errorf("%q, %v", buf, err)
	}
	if _, err := here.Write([]byte("moo")); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(here, buf[:3]); err != nil || string(buf[:3]) != "moo" {
		t.Errorf("%q, %v", buf[:3], err)
	}
	_ = here.Close()
}

// TestExec runs commands through every kind of agent.
func TestExec(t *testing.T) {
	for _, at := range []string{"s1", "s2", "c1"} {
		t.Run(at, func(t *testing.T) {
			runHerd(t, func(t *testing.T, h *herd) {
				alloc := h.place("web", "c1").ID
				exec := func(stdin io.Reader, words ...string) (string, string, int, error) {
					var out, errOut bytes.Buffer
					resize := make(chan TTYSize, 1)
					resize <- TTYSize{Width: 80, Height: 24}
					code, err := h.client(at).Exec(t.Context(), ExecRequest{AllocID: alloc, Command: words, TTY: true},
						ExecIO{Stdin: stdin, Stdout: &out, Stderr: &errOut, Resize: resize})
					return out.String(), errOut.String(), code, err
				}
				if out, _, code, err := exec(strings.NewReader("moo\x00\xff"), "cat"); out != "moo\x00\xff" || code != 7 || err != nil {
					t.Errorf("cat: %q, exit code %d, %v", out, code, err)
				}
				if _, out, code, err := exec(nil, "size"); out != "80x24" || code != 0 || err != nil {
					t.Errorf("size: %q, exit code %d, %v", out, code, err)
				}
				if out, _, _, err := exec(nil, "flood"); len(out) != 1<<20 || err != nil {
					t.Errorf("flood: %d bytes, %v", len(out), err)
				}
				if _, _, code, err := exec(nil, "nothing"); code != 127 || !errors.Is(err, ErrInvalid) {
					t.Errorf("an unknown command: exit code %d, %v", code, err)
				}
				_, err := h.client(at).Exec(t.Context(), ExecRequest{AllocID: alloc, Task: "none", Command: []string{"cat"}}, ExecIO{})
				wantCode(t, err, CodeNotFound)
				_, err = h.client(at).Exec(t.Context(), ExecRequest{AllocID: alloc}, ExecIO{})
				wantCode(t, err, CodeInvalid)
			})
		})
	}
}

// TestExecEndsWithItsClient: a command does not outlive the connection of its client, however that ends.
func TestExecEndsWithItsClient(t *testing.T) {
	for name, leave := range map[string]func(h *herd, cancel context.CancelFunc){
		"cancelled":          func(_ *herd, cancel context.CancelFunc) { cancel() },
		"agent stops":        func(h *herd, _ context.CancelFunc) { h.agents["c1"].server.Close() },
		"forwarder stops":    func(h *herd, _ context.CancelFunc) { h.agents["s2"].server.Close() },
		"connection cut off": func(h *herd, _ context.CancelFunc) { _ = h.agents["s2"].user.cut() },
	} {
		t.Run(name, func(t *testing.T) {
			runHerd(t, func(t *testing.T, h *herd) {
				alloc := h.place("web", "c1").ID
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var wg sync.WaitGroup
				wg.Go(func() {
					_, err := h.client("s2").Exec(ctx, ExecRequest{AllocID: alloc, Command: []string{"hang"}}, ExecIO{})
					if err == nil {
						t.Error("no error")
					}
				})
				h.pass(time.Minute) // heartbeats keep it
				inside := h.agents["c1"].inside
				if n, ended := inside.state(); n != 1 {
					t.Fatalf("%d commands run, want 1; the last was ended by %v", n, ended)
				}
				leave(h, cancel)
				wg.Wait()
				h.pass(3 * time.Minute)
				if n, ended := inside.state(); n != 0 || ended == nil {
					t.Errorf("%d commands run, ended by %v", n, ended)
				}
			})
		})
	}
}

// TestExecWithoutHeartbeat: a client that never answers is given up.
func TestExecWithoutHeartbeat(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		alloc := h.place("web", "c1").ID
		res, conn := h.upgrade("s1:4646", "/v1/client/allocation/"+alloc+"/exec?command=%5B%22hang%22%5D", handshake())
		if res.StatusCode != http.StatusSwitchingProtocols {
			t.Fatal(res.Status)
		}
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = io.Copy(io.Discard, conn) })
		h.pass(beatPatience - beatEvery)
		if n, _ := h.agents["c1"].inside.state(); n != 1 {
			t.Fatalf("%d commands run, want 1", n)
		}
		h.pass(3 * beatEvery)
		if n, ended := h.agents["c1"].inside.state(); n != 0 || !errors.Is(ended, errClientGone) {
			t.Errorf("%d commands run, ended by %v", n, ended)
		}
		wg.Wait()
	})
}

// TestWebsocketRefuses what is none, and pages of other origins.
func TestWebsocketRefuses(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		path := "/v1/client/allocation/" + h.place("web", "c1").ID + "/exec?command=%5B%22whoami%22%5D"
		for name, c := range map[string]struct {
			change func(http.Header)
			code   string
		}{
			"plain":        {func(h http.Header) { clear(h) }, CodeInvalid},
			"old version":  {func(h http.Header) { h.Set("Sec-WebSocket-Version", "8") }, CodeInvalid},
			"other origin": {func(h http.Header) { h.Set("Origin", "http://evil.example") }, CodeForbidden},
			"no origin":    {func(h http.Header) { h.Set("Origin", "null") }, CodeForbidden},
		} {
			header := handshake()
			c.change(header)
			res, data := h.raw("s2:4646", http.MethodGet, path, header, nil)
			if e := errorIn(t, res, data); e.Code != c.code {
				t.Errorf("%s: %+v, want %s", name, e, c.code)
			}
		}
		header := handshake()
		header.Set("Origin", "http://s2:4646")
		res, conn := h.upgrade("s2:4646", path, header)
		if res.StatusCode != http.StatusSwitchingProtocols {
			t.Errorf("own origin: %s", res.Status)
		}
		_ = conn.Close()
	})
}

// TestExecFrames: the messages are those of the field's clients.
func TestExecFrames(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		alloc := h.place("web", "c1").ID
		c := h.client("s2")
		conn, err := c.websocket(t.Context(), exchange{route: routeAllocExec, id: alloc, query: map[string][]string{
			"command": {`["cat"]`}, "tty": {"false"}, "task": {"server"}, "ws_handshake": {"true"},
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.CloseNow() }()
		for _, text := range []string{`{"version":1,"auth_token":""}`, `{}`, `{"tty_size":{"height":24,"width":80}}`,
			`{"stdin":{"data":"bW9v"}}`, `{"stdin":{"close":true}}`} {
			if err := conn.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		for _, want := range []string{`{"stdout":{"data":"bW9v"}}`, `{"exited":true,"result":{"exit_code":7}}`} {
			_, got, err := conn.Read(t.Context())
			if err != nil || string(got) != want {
				t.Errorf("got %s, %v, want %s", got, err, want)
			}
		}
		_, _, err = conn.Read(t.Context())
		if websocket.CloseStatus(err) != websocket.StatusNormalClosure {
			t.Errorf("the end: %v", err)
		}
	})
}

// FuzzExecInput: whatever a client sends is an input or an error.
func FuzzExecInput(f *testing.F) {
	for _, s := range []string{`{}`, `{"stdin":{"data":"bW9v","close":true}}`, `{"tty_size":{"height":24,"width":80}}`, `{"tty_size":{"height":-1}}`, `[`, `{"stdin":null}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		in, err := decodeExecInput(data)
		if err == nil && in.TTYSize != nil && (in.TTYSize.Height < 0 || in.TTYSize.Height > maxTTY) {
			t.Errorf("%s: %+v", data, in.TTYSize)
		}
	})
}

// TestFilesRoutes reads files through every kind of agent.
func TestFilesRoutes(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		alloc := h.place("web", "c1").ID
		for _, at := range []string{"s1", "s2", "c1"} {
			c := h.client(at)
			read := func(r io.ReadCloser, err error) string {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				data, err := io.ReadAll(r)
				if err != nil {
					t.Error(err)
				}
				return string(data)
			}
			f := FileRequest{AllocID: alloc, Path: "/hello.txt"}
			if got := read(c.ReadFile(t.Context(), f, 1, 3)); got != "ell" {
				t.Errorf("at %s: %q", at, got)
			}
			if got := read(c.PackFiles(t.Context(), f)); got != "an archive" {
				t.Errorf("at %s: %q", at, got)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			r, err := c.FollowFile(ctx, f, 2)
			if err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 2)
			if _, err := io.ReadFull(r, buf); err != nil || string(buf) != "lo" {
				t.Errorf("at %s: %q, %v", at, buf, err)
			}
			cancel()
			_ = r.Close()
			if err := c.UnpackFiles(t.Context(), f, strings.NewReader("from "+at)); err != nil {
				t.Errorf("at %s: %v", at, err)
			}
			if got := string(h.agents["c1"].inside.packed); got != "from "+at {
				t.Errorf("at %s: unpacked %q", at, got)
			}
			f.Path = "/server/secrets/token"
			if _, err := c.StatFile(t.Context(), f); !errors.Is(err, ErrForbidden) {
				t.Errorf("at %s: secrets: %v", at, err)
			}
			res, data := h.raw(at+":4646", http.MethodGet, "/v1/client/fs/stream/"+alloc+"?path=hello.txt&follow=false", nil, nil)
			if want := `{"Offset":5,"Data":"aGVsbG8=","File":"hello.txt"}`; res.StatusCode != 200 || string(data) != want {
				t.Errorf("at %s: frames %s, want %s", at, data, want)
			}
		}
	})
}
