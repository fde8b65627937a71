package agent

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/hashicorp/go-hclog"

	"github.com/drover-io/drover/api"
)

// syncBuffer may be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestMonitorShowsRecentLinesAndThoseThatCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var own bytes.Buffer
		log := hclog.NewInterceptLogger(&hclog.LoggerOptions{Name: "drover", Level: hclog.Warn, Output: &own})
		a := &Agent{}
		var deaf func() error
		a.tail, deaf = openTail(log)
		log.Named("x").Info("before", "n", 1)
		log.Debug("not kept")

		ctx, cancel := context.WithCancel(t.Context())
		var text, json syncBuffer
		var wg sync.WaitGroup
		wg.Go(func() { _ = a.Monitor(ctx, api.MonitorRequest{Level: "debug", Follow: true}, &text) })
		wg.Go(func() { _ = a.Monitor(ctx, api.MonitorRequest{Level: "error", JSON: true, Follow: true}, &json) })
		synctest.Wait()
		log.With("k", "v").Debug("meanwhile")
		log.Error("trouble")
		log.Trace("too much")
		synctest.Wait()
		cancel()
		wg.Wait()

		for _, want := range []string{"[INFO]  drover.x: before: n=1\n", "[DEBUG] drover: meanwhile: k=v\n", "[ERROR] drover: trouble\n"} {
			if !strings.Contains(text.String(), want) {
				t.Errorf("no %q in\n%s", want, text.String())
			}
		}
		if s := text.String(); strings.Contains(s, "not kept") || strings.Contains(s, "too much") {
			t.Error(s)
		}
		if s := json.String(); strings.Count(s, "\n") != 1 || !strings.Contains(s, `"@message":"trouble"`) {
			t.Error(s)
		}
		if strings.Contains(own.String(), "meanwhile") {
			t.Error("the agent's own log became more talkative")
		}
		if a.tail.lowest != tailLevel {
			t.Errorf("lines of level %v are still rendered for nobody", a.tail.lowest)
		}
		if err := a.Monitor(t.Context(), api.MonitorRequest{Level: "info"}, &text); err != nil {
			t.Error(err)
		}
		if err := deaf(); err != nil {
			t.Error(err)
		}
		log.Error("after")
		if n := len(a.tail.lines); n != 2 {
			t.Errorf("%d lines kept, want 2", n)
		}
	})
}

func TestASlowReaderHoldsNobodyUp(t *testing.T) {
	log := hclog.NewInterceptLogger(&hclog.LoggerOptions{Level: hclog.Off, Output: &bytes.Buffer{}})
	tl, _ := openTail(log)
	_, r, leave := tl.join(hclog.Info, false)
	defer leave()
	for i := range readerLines + tailLines {
		log.Info(fmt.Sprint("line ", i))
	}
	for range readerLines {
		<-r.lines
	}
	log.Info("at last")
	if got := string(<-r.lines); !strings.HasPrefix(got, fmt.Sprintf("… %d lines left out", tailLines)) {
		t.Error(got)
	}
	if got := string(<-r.lines); !strings.Contains(got, "at last") {
		t.Error(got)
	}
	recent, _, leave2 := tl.join(hclog.Info, false)
	defer leave2()
	if len(recent) != tailLines || !strings.Contains(string(recent[tailLines-1]), "at last") {
		t.Errorf("%d recent lines, the last %q", len(recent), recent[len(recent)-1])
	}
}
