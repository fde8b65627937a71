package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/drover-io/drover/api"
)

const (
	// watchPause is the least time between two looks of --watch: what changes all the time need not be shown each time.
	watchPause = 300 * time.Millisecond
	// watchPoll is how often what cannot be waited for is looked at.
	watchPoll = 2 * time.Second
)

// forPrograms reports whether the flags of a command ask for an answer of which a part is worth nothing.
func forPrograms(cmd *cobra.Command) bool {
	for _, name := range []string{"json", "template", "output"} {
		if f := cmd.Flags().Lookup(name); f != nil && f.Changed && !slices.Contains([]string{"table", "wide", "name", "false"}, f.Value.String()) {
			return true
		}
	}
	return false
}

// watch shows again whenever what was read has changed. It ends when ctx does, without an error.
func (r *reader) watch(ctx context.Context, programs bool, show func(ctx context.Context) error) error {
	v := &view{r: r, out: r.app.out, whole: programs, stale: r.stale}
	for {
		began := time.Now()
		text, err := v.round(ctx, show)
		if ctx.Err() != nil {
			return nil
		}
		wait := watchPause
		if err != nil {
			if err := v.bear(err); err != nil {
				return err
			}
			wait = watchPoll
		} else {
			v.trouble = time.Time{}
			changed, err := v.update(text)
			if err != nil {
				return err
			}
			if r.seen == 0 || !changed && time.Since(began) < watchPause {
				wait = watchPoll // it does not wait by itself
			}
		}
		if !rest(ctx, wait) {
			return nil
		}
	}
}

// rest waits, or reports false when ctx ends first.
func rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// view is what --watch has on the screen.
type view struct {
	r       *reader
	out     io.Writer // the real one
	whole   bool      // an answer for programs: each is printed whole
	stale   bool      // as the user asked
	last    string
	begun   bool
	trouble time.Time // since when reading fails
}

// round shows once, into a string. All but the first wait for a change.
func (v *view) round(ctx context.Context, show func(ctx context.Context) error) (string, error) {
	r, a := v.r, v.r.app
	r.since, r.seen, r.stale = r.seen, 0, v.stale
	var text bytes.Buffer
	buffer := &screen{Writer: &text, lasting: true}
	if s, ok := v.out.(*screen); ok && !v.whole {
		buffer.width, buffer.color, buffer.lasting = s.width, s.color, !s.terminal
	}
	a.out = buffer
	defer func() { a.out = v.out }()
	err := show(ctx)
	if err != nil {
		r.seen = 0 // another server may be behind what was seen
	}
	return text.String(), err
}

// bear waits out trouble that may pass, after something was shown.
func (v *view) bear(err error) error {
	final := !v.begun || isNotFound(err) || errors.Is(err, api.ErrForbidden) || errors.Is(err, api.ErrInvalid)
	if final {
		return err
	}
	if v.trouble.IsZero() {
		v.trouble = time.Now()
		fmt.Fprintf(v.r.app.err, "Warning: %s; trying again\n", brief(err))
	}
	if time.Since(v.trouble) > troubleLimit {
		return err
	}
	return nil
}

// update brings what is new onto the screen.
func (v *view) update(text string) (changed bool, err error) {
	before, begun := v.last, v.begun
	v.last, v.begun = text, true
	switch {
	case begun && text == before:
		return false, nil
	case v.whole || !begun && !isTerminal(v.out):
		_, err = io.WriteString(v.out, text)
	case isTerminal(v.out):
		_, err = io.WriteString(v.out, redraw(text, v.rows()))
	default:
		news := newLines(before, text)
		_, err = io.WriteString(v.out, news)
		return news != "", err
	}
	return true, err
}

// rows is the height of the terminal, 0 where that cannot be known.
func (v *view) rows() int {
	s, ok := v.out.(*screen)
	if !ok {
		return 0
	}
	if f, ok := s.Writer.(*os.File); ok {
		if _, rows, err := term.GetSize(int(f.Fd())); err == nil {
			return rows
		}
	}
	return 0
}

// redraw writes a text over what the terminal shows. What does not fit is counted in the last line.
func redraw(text string, rows int) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if rows > 2 && len(lines) >= rows {
		more := len(lines) - (rows - 2)
		lines = append(lines[:rows-2:rows-2], fmt.Sprintf("… %s more", plural(more, "line")))
	}
	return "\033[H" + strings.Join(lines, "\033[K\r\n") + "\033[K\r\n\033[J"
}

// newLines are the lines of a text that one before did not have. Columns may have become wider meanwhile.
func newLines(before, now string) string {
	had := map[string]int{}
	for _, line := range strings.Split(before, "\n") {
		had[strings.Join(strings.Fields(line), " ")]++
	}
	var b strings.Builder
	for _, line := range strings.Split(strings.TrimSuffix(now, "\n"), "\n") {
		key := strings.Join(strings.Fields(line), " ")
		if had[key] > 0 || key == "" {
			had[key]--
			continue
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}
