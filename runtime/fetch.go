package runtime

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/drover-io/drover/state"
)

const (
	// imageNotice is how long fetching an image takes before it is worth an event.
	imageNotice = 300 * time.Millisecond
	// imageLook is how often it is asked how far a download is.
	imageLook = 2 * time.Second
	// imageStep is the part of an image, in percent, after which the event is written anew: each time costs the cluster an entry
	// of its log.
	imageStep = 10
)

// fetch makes the image present, and says so when that takes a while. However long it takes, it is one event.
func (t *task) fetch(ctx context.Context, p ImagePuller, spec TaskSpec) error {
	done := make(chan error, 1)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		_, err := p.EnsureImage(ctx, spec)
		done <- err
	})
	began := time.Now()
	notice := time.NewTimer(imageNotice)
	defer notice.Stop()
	select {
	case err := <-done:
		return err
	case <-notice.C:
	}
	t.a.note(t.change(nil, event(EventDownloading, "downloading image %v", spec.Config["image"])))
	shown, total := t.follow(ctx, p, spec, done)
	err := <-done
	if err == nil && shown >= 0 {
		t.a.remember(t.change(retell(event(EventDownloading, "downloaded image %v, %s in %s",
			spec.Config["image"], megabytes(total), time.Since(began).Round(time.Second)))))
	}
	return err
}

// follow tells how far the download is until it is done, and leaves the outcome in done. shown is the last percentage told, -1
// when none was.
func (t *task) follow(ctx context.Context, p ImagePuller, spec TaskSpec, done chan error) (shown, total int64) {
	shown = -1
	watcher, ok := p.(PullWatcher)
	if !ok {
		return shown, 0
	}
	look := time.NewTicker(imageLook)
	defer look.Stop()
	for {
		select {
		case err := <-done:
			done <- err
			return shown, total
		case <-look.C:
		}
		here, of, ok := watcher.PullProgress(ctx, spec)
		if !ok || of <= 0 {
			continue
		}
		total = of
		if percent := min(here, of) * 100 / of; percent >= shown+imageStep || shown < 0 {
			shown = percent
			t.a.remember(t.change(retell(event(EventDownloading, "downloading image %v: %d of %s",
				spec.Config["image"], here/1e6, megabytes(of)))))
		}
	}
}

func megabytes(n int64) string { return fmt.Sprintf("%d MB", (n+5e5)/1e6) }

// retell replaces the message of the last event when it is of the same type, and keeps when it began.
func retell(e state.TaskEvent) func(*taskRecord) {
	return func(tr *taskRecord) {
		events := slices.Clone(tr.State.Events)
		if n := len(events); n > 0 && events[n-1].Type == e.Type {
			e.Time = events[n-1].Time
			events = events[:n-1]
		}
		tr.State.Events = addEvents(events, e)
	}
}

// tidyUp asks the drivers now and then to remove what nobody needs any more.
func (r *Runner) tidyUp(ctx context.Context) {
	if r.cfg.TidyEvery <= 0 {
		return
	}
	tick := time.NewTicker(r.cfg.TidyEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, name := range slices.Sorted(maps.Keys(r.cfg.Drivers)) {
			d, ok := r.cfg.Drivers[name].(Tidier)
			if !ok {
				continue
			}
			if err := d.Tidy(ctx); err != nil && ctx.Err() == nil {
				r.log.Warn("cannot remove what is not needed any more; trying again later", "driver", name, "error", err)
			}
		}
	}
}
