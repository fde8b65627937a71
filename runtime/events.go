package runtime

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/drover-io/drover/state"
)

// Types of task events, as they are shown to users.
const (
	EventReceived         = "Received"
	EventSetup            = "Task Setup"
	EventSetupFailure     = "Setup Failure"
	EventDownloading      = "Downloading Image"
	EventDriverFailure    = "Driver Failure"
	EventStarted          = "Started"
	EventReattached       = "Re-attached"
	EventRebooted         = "Rebooted"
	EventTerminated       = "Terminated"
	EventRestarting       = "Restarting"
	EventNotRestarting    = "Not Restarting"
	EventRestartSignaled  = "Restart Signaled"
	EventSignaling        = "Signaling"
	EventKilling          = "Killing"
	EventKilled           = "Killed"
	EventLeaderDead       = "Leader Task Dead"
	EventSiblingFailed    = "Sibling Task Failed"
	EventWaitingForLeader = "Waiting for Leader"
)

// event makes a task event of now.
func event(kind, format string, args ...any) state.TaskEvent {
	return state.TaskEvent{Type: kind, Time: time.Now().UnixNano(), Message: cutMessage(fmt.Sprintf(format, args...), maxMessage)}
}

// cutMessage cuts a message to about so many bytes.
func cutMessage(message string, most int) string {
	if len(message) <= most {
		return message
	}
	return strings.ToValidUTF8(message[:most], "") + " …"
}

// maxMessage bounds the message of an event in bytes: a report has many.
const maxMessage = 1000

// addEvents appends events, keeps the newest MaxTaskEvents, and leaves out one that only repeats the last.
func addEvents(old []state.TaskEvent, added ...state.TaskEvent) []state.TaskEvent {
	out := append([]state.TaskEvent(nil), old...)
	for _, e := range added {
		if n := len(out); n > 0 && out[n-1].Type == e.Type && out[n-1].Message == e.Message && e.Type != EventTerminated {
			continue
		}
		out = append(out, e)
	}
	if n := len(out); n > state.MaxTaskEvents {
		out = append([]state.TaskEvent(nil), out[n-state.MaxTaskEvents:]...)
	}
	return out
}

// exitEvent tells how a task ended.
func exitEvent(x Exit) state.TaskEvent {
	at := x.At
	if at.IsZero() {
		at = time.Now()
	}
	return state.TaskEvent{
		Type: EventTerminated, Time: at.UnixNano(), Message: exitMessage(x),
		ExitCode: x.Code, Signal: x.Signal, OOM: x.OOM, Unknown: x.Unknown,
	}
}

// exitMessage says how a task ended in a few words.
func exitMessage(x Exit) string {
	switch {
	case x.Unknown:
		return "exit code unknown: it ended while nobody watched"
	case x.OOM:
		return fmt.Sprintf("exit code %d: killed for using more memory than its limit", x.Code)
	case x.Signal != 0:
		return fmt.Sprintf("exit code %d, signal %s", x.Code, signalName(syscall.Signal(x.Signal)))
	}
	return fmt.Sprintf("exit code %d", x.Code)
}

// signalName is the signal's usual name.
func signalName(s syscall.Signal) string {
	if n := unix.SignalName(s); n != "" {
		return n
	}
	return fmt.Sprintf("signal %d", int(s))
}

// parseSignal reads a kill_signal. Empty means SIGTERM.
func parseSignal(name string) (syscall.Signal, error) {
	if name == "" {
		return syscall.SIGTERM, nil
	}
	s, err := ParseSignal(name)
	if err != nil {
		return 0, fmt.Errorf("kill_signal: %w", err)
	}
	return s, nil
}

// ParseSignal reads "SIGTERM", "TERM", "sigterm" or "15".
func ParseSignal(name string) (syscall.Signal, error) {
	if n, err := strconv.Atoi(name); err == nil && n > 0 && n <= 64 {
		return syscall.Signal(n), nil
	}
	upper := strings.ToUpper(name)
	if !strings.HasPrefix(upper, "SIG") {
		upper = "SIG" + upper
	}
	if s := unix.SignalNum(upper); s != 0 {
		return s, nil
	}
	return 0, fmt.Errorf("%q is not a signal of this system: %w", name, ErrNotRetryable)
}
