package runtime_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/state"
)

// yard is a directory with an allocation of the tasks web and side in it, and with what must never be reached beside and in it.
type yard struct {
	t   testing.TB
	dir string // of the allocation
	f   *runtime.Files
}

// fastDir is a directory in memory, where there is such a thing.
func fastDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "drover-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

const secret = "never to be seen"

func newYard(t testing.TB) *yard {
	t.Helper()
	y := &yard{t: t, dir: filepath.Join(fastDir(t), "a1")}
	if err := os.Mkdir(y.dir, 0o711); err != nil {
		t.Fatal(err)
	}
	if err := runtime.MakeTaskDirs(y.dir, []state.Task{{Name: "web"}, {Name: "side"}}); err != nil {
		t.Fatal(err)
	}
	y.f = runtime.FilesAt(y.dir, []string{"web", "side"}, "")
	for path, text := range map[string]string{
		"../outside": secret, "alloc.json": secret, ".marks": secret, "web/secrets/key": secret,
		"alloc/data/report": "the report", "alloc/data/sub/deep": "deep", "alloc/logs/web.stdout": "hello\n", "web/local/conf": "conf of web",
	} {
		y.put(path, text)
	}
	return y
}

func (y *yard) put(path, text string) {
	y.t.Helper()
	path = filepath.Join(y.dir, path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		y.t.Fatal(err)
	}
}

func (y *yard) link(path, target string) {
	y.t.Helper()
	if err := os.Symlink(target, filepath.Join(y.dir, path)); err != nil {
		y.t.Fatal(err)
	}
}

func cat(f *runtime.Files, path string) (string, error) {
	file, err := f.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	data, err := io.ReadAll(file)
	return string(data), err
}

func TestReadFiles(t *testing.T) {
	y := newYard(t)
	y.link("alloc/data/absolute", "/local/conf")
	y.link("web/local/absolute", "/local/conf")
	y.link("web/local/relative", "../../alloc/data/../data/report")
	y.link("web/local/dir", "/alloc/data")
	y.link("web/local/out", "../../../outside")
	y.link("web/local/etc", "/etc/passwd")
	y.link("web/local/key", "../secrets/key")
	y.link("web/local/own", "/secrets/key")
	y.link("web/local/record", "../../alloc.json")
	y.link("web/local/slash", "conf/")
	y.link("web/local/loop", "loop")
	y.link("web/local/root", "../..")
	if err := unix.Mkfifo(filepath.Join(y.dir, "alloc/data/pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	web := runtime.FilesAt(y.dir, []string{"web", "side"}, "web")
	for _, tc := range []struct {
		f    *runtime.Files
		path string
		want string
		err  error
	}{
		{y.f, "alloc/data/report", "the report", nil},
		{y.f, "/alloc//data/./report/", "the report", nil},
		{y.f, "../../alloc/data/report", "the report", nil}, // there is nothing above the allocation
		{y.f, "alloc/data/none/../report", "the report", nil},
		{y.f, "web/local/conf", "conf of web", nil},
		{web, "/local/conf", "conf of web", nil},
		{y.f, "/local/conf", "", runtime.ErrBadPath}, // of which task?
		{y.f, "web/local/absolute", "conf of web", nil},
		{web, "alloc/data/absolute", "conf of web", nil},
		{y.f, "web/local/relative", "the report", nil},
		{y.f, "web/local/dir/sub/deep", "deep", nil},
		{y.f, "web/local/dir/../dir/sub/deep", "deep", nil},
		{y.f, "web/local/root/alloc/data/report", "the report", nil},
		{y.f, "web/local/out", "", runtime.ErrForbidden},
		{y.f, "web/local/etc", "", runtime.ErrForbidden},
		{y.f, "web/local/key", "", runtime.ErrForbidden},
		{y.f, "web/local/own", "", runtime.ErrForbidden},
		{y.f, "web/local/record", "", runtime.ErrNotFound},
		{y.f, "web/local/root/alloc.json", "", runtime.ErrNotFound},
		{y.f, "web/local/root/web/secrets/key", "", runtime.ErrForbidden},
		{y.f, "web/local/slash", "", runtime.ErrBadPath},
		{y.f, "web/local/loop", "", runtime.ErrBadPath},
		{y.f, "alloc.json", "", runtime.ErrNotFound},
		{y.f, ".marks", "", runtime.ErrNotFound},
		{y.f, "../outside", "", runtime.ErrNotFound},
		{y.f, "web/secrets/key", "", runtime.ErrForbidden},
		{web, "/secrets/key", "", runtime.ErrForbidden},
		{y.f, "web/secrets", "", runtime.ErrForbidden},
		{y.f, "other/local/conf", "", runtime.ErrNotFound},
		{y.f, "alloc/data/none", "", runtime.ErrNotFound},
		{y.f, "alloc/data/report/x", "", runtime.ErrBadPath},
		{y.f, "alloc/data", "", runtime.ErrBadPath},
		{y.f, "", "", runtime.ErrBadPath},
		{y.f, "alloc/data/pipe", "", runtime.ErrBadPath},
		{y.f, "alloc/da\x00ta", "", runtime.ErrBadPath},
		{y.f, strings.Repeat("x/", 3000), "", runtime.ErrBadPath},
		{y.f, "alloc/" + strings.Repeat("x", 300), "", runtime.ErrBadPath},
	} {
		got, err := cat(tc.f, tc.path)
		if got != tc.want || !errors.Is(err, tc.err) {
			t.Errorf("%.60q: %q, %v; want %q, %v", tc.path, got, err, tc.want, tc.err)
		}
	}
}

func TestListAndStat(t *testing.T) {
	y := newYard(t)
	y.link("web/local/l", "/alloc/data")
	names := func(path string) string {
		t.Helper()
		list, err := y.f.List(path)
		if err != nil {
			t.Errorf("%q: %v", path, err)
		}
		var out []string
		for _, info := range list {
			out = append(out, fmt.Sprint(info.Name, " ", info.Mode.String()[:1]))
		}
		return strings.Join(out, ", ")
	}
	for path, want := range map[string]string{
		"": "alloc d, side d, web d", "/..": "alloc d, side d, web d", "web": "local d, tmp d", "web/local": "conf -, l L", "web/local/l": "report -, sub d",
	} {
		if got := names(path); got != want {
			t.Errorf("%q has %s, want %s", path, got, want)
		}
	}
	for _, path := range []string{"alloc/data/report", "web/secrets", "none"} {
		if list, err := y.f.List(path); err == nil {
			t.Errorf("%q has %v", path, list)
		}
	}
	if err := os.Chmod(filepath.Join(y.dir, "alloc/data/report"), 0o640|fs.ModeSetuid|fs.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	info, err := y.f.Stat("alloc/data/report")
	if err != nil || info.Name != "report" || info.Size != 10 || info.Mode != 0o640|fs.ModeSetuid|fs.ModeSetgid || time.Since(info.ModTime) > time.Hour {
		t.Errorf("%+v, %v", info, err)
	}
	for path, want := range map[string]string{"": "", "web/local/l": "data", "web/": "web"} {
		if info, err := y.f.Stat(path); err != nil || info.Name != want || !info.Mode.IsDir() {
			t.Errorf("%q: %+v, %v", path, info, err)
		}
	}
}

// TestListIsBounded: a directory that is too large for an answer is said to be.
func TestListIsBounded(t *testing.T) {
	dir := fastDir(t)
	f := runtime.FilesAt(dir, nil, "")
	if err := os.Mkdir(filepath.Join(dir, "alloc"), 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 10_001 {
		if err := os.Symlink("x", filepath.Join(dir, fmt.Sprintf("alloc/%05d", i))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.List("alloc"); !errors.Is(err, runtime.ErrBadPath) || !strings.Contains(err.Error(), "more than 10000") {
		t.Errorf("one too many: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "alloc/00007")); err != nil {
		t.Fatal(err)
	}
	if list, err := f.List("alloc"); err != nil || len(list) != 10_000 || list[7].Name != "00008" {
		t.Errorf("%d files, %v", len(list), err)
	}
}

// TestFilesOfARunner: which allocation, which task.
func TestFilesOfARunner(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.run(service(task("a", conf{"stdout": "hi"})))
		f, err := g.r.Files(allocID, "")
		if err != nil {
			t.Fatal(err)
		}
		if text, err := cat(f, "alloc/logs/a.stdout"); err != nil || text != "hi\n" {
			t.Errorf("%q, %v", text, err)
		}
		if list, err := f.List("/local"); err != nil || len(list) != 0 { // there is only one task
			t.Errorf("%v, %v", list, err)
		}
		for _, of := range [][2]string{{allocID, "b"}, {"none", ""}, {"none", "a"}} {
			if _, err := g.r.Files(of[0], of[1]); !errors.Is(err, runtime.ErrNotFound) {
				t.Errorf("%v: %v", of, err)
			}
		}
	})
}

// TestFilesWhileATaskRearrangesThem: a task exchanges a directory for a link to elsewhere, again and again, while others look.
func TestFilesWhileATaskRearrangesThem(t *testing.T) {
	y := newYard(t)
	at := filepath.Join(y.dir, "web/local/d")
	done := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		defer close(done)
		for range 300 {
			_ = os.MkdirAll(at, 0o755)
			_ = os.WriteFile(at+"/key", []byte("mine"), 0o644)
			_ = os.RemoveAll(at)
			_ = os.Symlink("../secrets", at)
			_ = os.Remove(at)
			_ = os.Symlink("../../..", at)
			_ = os.Remove(at)
		}
	})
	for {
		for _, path := range []string{"web/local/d/key", "web/local/d/outside", "web/local/d/../secrets/key"} {
			if text, err := cat(y.f, path); err == nil && text != "mine" && text != "" {
				t.Fatalf("%s: %q", path, text)
			}
		}
		select {
		case <-done:
			return
		default:
		}
	}
}

// FuzzFiles: whatever a path says and wherever a link leads, what is opened, listed and described lies in the allocation and is
// not secret.
func FuzzFiles(f *testing.F) {
	for _, s := range [][2]string{
		{"alloc/data/l", "/alloc/data/report"}, {"web/local/l/../secrets/key", "../secrets"}, {"alloc/data/l/outside", "../../.."}, {"/local/x", "/"},
		{"alloc/data/l", "/proc/self/root/etc/passwd"}, {"../../../etc/passwd", "l"}, {"alloc/data/l/alloc.json", "../.."}, {"\x00", "."},
		{strings.Repeat("../", 100) + "outside", strings.Repeat("../", 100)}, {"web/local/l/secrets/key", "/local/.."}, {"alloc/data/l", "//alloc/../web/secrets/key"},
	} {
		f.Add(s[0], s[1])
	}
	y := newYard(f)
	f.Fuzz(func(t *testing.T, path, target string) {
		for _, l := range []string{"alloc/data/l", "web/local/l"} {
			_ = os.Remove(filepath.Join(y.dir, l))
			_ = os.Symlink(target, filepath.Join(y.dir, l)) // some targets are none
		}
		for _, task := range []string{"", "web"} {
			files := runtime.FilesAt(y.dir, []string{"web", "side"}, task)
			if text, err := cat(files, path); err == nil && !slices.Contains([]string{"the report", "deep", "hello\n", "conf of web"}, text) {
				t.Fatalf("path %q, link to %q: %q", path, target, text)
			}
			list, err := files.List(path)
			for _, info := range list {
				if !slices.Contains([]string{"alloc", "data", "logs", "tmp", "web", "side", "local", "report", "sub", "deep", "web.stdout", "conf", "l"}, info.Name) {
					t.Fatalf("path %q, link to %q: there is %q, %v", path, target, info.Name, err)
				}
			}
			if info, err := files.Stat(path); err == nil && info.Size == int64(len(secret)) && info.Mode.IsRegular() {
				t.Fatalf("path %q, link to %q: %+v", path, target, info)
			}
		}
	})
}
