package waitfor

import (
	"context"
	"fmt"
	"time"
)

// True calls check every interval until it returns nil, and returns how long that took. After the timeout, or when ctx ends,
// it returns the last error of check.
func True(ctx context.Context, timeout, interval time.Duration, check func(context.Context) error) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	start := time.Now()
	t := time.NewTicker(interval)
	defer t.Stop()
	var last error
	for {
		if err := check(ctx); err == nil {
			return time.Since(start), nil
		} else if ctx.Err() == nil || last == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return time.Since(start), fmt.Errorf("not within %s: %w", timeout, last)
		case <-t.C:
		}
	}
}
