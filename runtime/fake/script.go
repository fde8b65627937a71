package fake

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/drover-io/drover/runtime"
)

// script is what a task does, read from its config block. Keys that are not listed here are refused.
type script struct {
	runFor        time.Duration // run_for: "10s"; 0, or no such key, means until it is stopped
	exitCode      int           // exit_code: when run_for is over
	exitSignal    int           // exit_signal: as if killed by it, when run_for is over
	oom           bool          // oom: as if killed for memory, when run_for is over
	startError    string        // start_error: Start fails with this message
	startFailures int           // start_failures: how many times start_error happens; 0 means always
	startDelay    time.Duration // start_block_for: Start takes this long
	notRetryable  bool          // not_retryable: start_error is one that starting again cannot help
	failRuns      int           // fail_runs: the first so many runs end with code 1 at the end of run_for, the others go on for ever
	killAfter     time.Duration // kill_after: from the kill signal to the end
	ignoreTerm    bool          // ignore_term: only SIGKILL ends it
	stdout        string        // stdout: appended to the task's log at each start, with a newline
	stderr        string        // stderr: the same
	image         string        // image: one that was imported into the cluster; it is fetched, and does nothing
}

// setters read one key each.
var setters = map[string]func(s *script, v any) error{
	"run_for":         func(s *script, v any) error { return setDuration(&s.runFor, v) },
	"exit_code":       func(s *script, v any) error { return setInt(&s.exitCode, v) },
	"exit_signal":     func(s *script, v any) error { return setInt(&s.exitSignal, v) },
	"oom":             func(s *script, v any) error { return setBool(&s.oom, v) },
	"start_error":     func(s *script, v any) error { return setString(&s.startError, v) },
	"start_failures":  func(s *script, v any) error { return setInt(&s.startFailures, v) },
	"start_block_for": func(s *script, v any) error { return setDuration(&s.startDelay, v) },
	"not_retryable":   func(s *script, v any) error { return setBool(&s.notRetryable, v) },
	"fail_runs":       func(s *script, v any) error { return setInt(&s.failRuns, v) },
	"kill_after":      func(s *script, v any) error { return setDuration(&s.killAfter, v) },
	"ignore_term":     func(s *script, v any) error { return setBool(&s.ignoreTerm, v) },
	"stdout":          func(s *script, v any) error { return setString(&s.stdout, v) },
	"stderr":          func(s *script, v any) error { return setString(&s.stderr, v) },
	"image":           func(s *script, v any) error { return setString(&s.image, v) },
}

func readScript(config map[string]any) (script, error) {
	var s script
	for _, key := range slices.Sorted(maps.Keys(config)) {
		set, ok := setters[key]
		if !ok {
			return s, fmt.Errorf("config key %q is unknown, there are: %s: %w",
				key, strings.Join(slices.Sorted(maps.Keys(setters)), ", "), runtime.ErrNotRetryable)
		}
		if err := set(&s, config[key]); err != nil {
			return s, fmt.Errorf("config key %q: %w: %w", key, err, runtime.ErrNotRetryable)
		}
	}
	return s, nil
}

func setDuration(to *time.Duration, v any) error {
	text, ok := v.(string)
	if !ok {
		return fmt.Errorf("%v is not a duration such as \"10s\"", v)
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return fmt.Errorf("%q is not a duration such as \"10s\"", text)
	}
	*to = d
	return nil
}

func setInt(to *int, v any) error {
	switch v := v.(type) {
	case int:
		*to = v
	case int64:
		*to = int(v)
	case float64:
		*to = int(v)
	case string:
		n, err := strconv.Atoi(v)
		if err != nil {
			return fmt.Errorf("%q is not a number", v)
		}
		*to = n
	default:
		return fmt.Errorf("%v is not a number", v)
	}
	return nil
}

func setBool(to *bool, v any) error {
	switch v := v.(type) {
	case bool:
		*to = v
		return nil
	case string:
		b, err := strconv.ParseBool(v)
		if err == nil {
			*to = b
			return nil
		}
	}
	return fmt.Errorf("%v is neither true nor false", v)
}

func setString(to *string, v any) error {
	s, ok := v.(string)
	if !ok {
		return fmt.Errorf("%v is not a string", v)
	}
	*to = s
	return nil
}
