package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/drover-io/drover/api"
)

func TestBatchSizes(t *testing.T) {
	for _, c := range []struct {
		text string
		n    int
		want int // 0: refused
	}{{"1", 10, 1}, {"25%", 10, 2}, {"1%", 10, 1}, {"100%", 10, 10}, {"0", 10, 0}, {"-1", 10, 0}, {"101%", 10, 0}, {"x", 10, 0}} {
		o := restartOptions{batchSize: c.text}
		if got, err := o.size(c.n); got != c.want || (err == nil) != (c.want > 0) {
			t.Errorf("%s of %d: %d, %v", c.text, c.n, got, err)
		}
	}
}

// TestJobRestart restarts copies in batches, in place and in their stead.
func TestJobRestart(t *testing.T) {
	t.Parallel()
	h := newHerd(t).ready()
	h.must("job", "run", h.file("web.hcl", job("web", "service", 3, `stdout = "x"`)))
	if out := h.must("job", "restart", "--batch-size", "2", "web"); strings.Count(out, "  restarted\n") != 3 || !strings.Contains(out, "All 3 copies restarted") {
		t.Error(out)
	}
	before := h.idOf("web.g[0]")
	if out := h.must("job", "restart", "--reschedule", "--batch-size", "100%", "web"); !strings.Contains(out, "All 3 copies restarted") {
		t.Error(out)
	}
	if h.idOf("web.g[0]") == before {
		t.Error("the copy is the same as before")
	}
	if x := h.run("job", "restart", "--task", "nothing", "web"); x.code != 1 || !strings.Contains(x.err, "nothing") {
		t.Errorf("an unknown task: exit %d\n%s", x.code, x.all())
	}
	if x := h.runIn(t.Context(), "n\n", "job", "restart", "--batch-wait", "ask", "web"); x.code != 1 || !strings.Contains(x.err, "Restart the next batch? [y/N]") {
		t.Errorf("a question answered with no: exit %d\n%s", x.code, x.all())
	}
	if x := h.run("job", "restart", "--group", "nothing", "web"); x.code != 1 || !strings.Contains(x.err, "no copy of job") {
		t.Errorf("no copy is meant: exit %d\n%s", x.code, x.all())
	}
}

// TestJobWait waits for what another command does meanwhile.
func TestJobWait(t *testing.T) {
	t.Parallel()
	h := newHerd(t).ready()
	file := h.file("web.hcl", job("web", "service", 2, `stdout = "x"`))
	h.must("job", "run", "--detach", file)
	h.must("job", "wait", "--for", "healthy", "web")
	var out lockedBuffer
	var code int
	var wg sync.WaitGroup
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	wg.Go(func() {
		code = h.app(strings.NewReader(""), &out, &out).run(ctx, []string{"job", "wait", "--for", "stopped", "web"})
	})
	h.must("job", "stop", "web")
	wg.Wait()
	if code != 0 || !strings.Contains(out.String(), `Job "web" is stopped after`) {
		t.Errorf("exit %d\n%s", code, out.String())
	}
	if x := h.run("job", "wait", "web"); x.code != 1 || !strings.Contains(x.err, "it is stopped; start it with drover job start web") {
		t.Errorf("running, of a stopped job: exit %d\n%s", x.code, x.all())
	}
	h.must("job", "wait", "--for", "dead", "web")
	if x := h.run("job", "wait", "--for", "runing", "web"); x.code != 1 || !strings.Contains(x.err, "did you mean running?") {
		t.Errorf("a misspelt goal: exit %d\n%s", x.code, x.all())
	}
}

func TestExplainFindsNames(t *testing.T) {
	for word, want := range map[string]string{
		"job": "job", "job.group.update": "update", "job.update": "update", "job.group.update.max_parallel": "update.max_parallel",
		"group.count": "group.count", "job.group.count": "group.count", "Resources.CPU": "resources.cpu", "job.group.task.resources": "resources",
	} {
		got, err := fieldsNamed(word)
		if err != nil || len(got) != 1 || got[0].Path != want {
			t.Errorf("%s: %+v, %v", word, got, err)
		}
	}
	if got, err := fieldsNamed("max_parallel"); err != nil || len(got) < 1 || !strings.HasSuffix(got[0].Path, ".max_parallel") {
		t.Errorf("the end of a path: %+v, %v", got, err)
	}
	if _, err := fieldsNamed("job.group.updat"); err == nil || !strings.Contains(err.Error(), "did you mean update?") {
		t.Error(err)
	}
	if got, err := fieldsNamed("job.task.update"); err == nil && got[0].Path == "update" && len(got) == 1 && len(got[0].In) == 0 {
		t.Errorf("update stands in no task: %+v", got)
	}
	job, err := fieldsNamed("job")
	if err != nil || len(job[0].Fields) < 10 {
		t.Errorf("what stands in job: %+v, %v", job, err)
	}
}

// TestNothingReadIsNoLook: an agent so slow that the deadline comes before the first answer.
func TestNothingReadIsNoLook(t *testing.T) {
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer slow.Close()
	c, err := api.New(api.Config{Addr: slow.URL})
	if err != nil {
		t.Fatal(err)
	}
	f := newFollower(newApp(nil, io.Discard, io.Discard), c, "default", "web")
	f.deadline = time.Now().Add(50 * time.Millisecond)
	if _, err := f.look(t.Context(), 0); !errors.Is(err, errPatience) {
		t.Error(err)
	}
}
