// Probe is the program inside the test images: its first argument says what to do.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Println("no command")
		os.Exit(99)
	}
	args := append(os.Args[2:], "", "")
	do, ok := map[string]func([]string){
		"exit":   func(a []string) { os.Exit(number(a[0])) },
		"print":  func(a []string) { fmt.Println(a[0]); fmt.Fprintln(os.Stderr, a[1]) },
		"env":    printEnv,
		"args":   func(a []string) { fmt.Printf("%q\n", a[:len(a)-2]) },
		"sleep":  func([]string) { waitFor("/no/such/file") },
		"after":  func(a []string) { waitFor(a[0]); os.Exit(number(a[1])) },
		"trap":   trap,
		"eat":    func(a []string) { eat(number(a[0])); os.Exit(0) },
		"fork":   func(a []string) { fork(number(a[0])) },
		"cat":    cat,
		"write":  write,
		"self":   self,
		"echo":   echo,
		"sizes":  func([]string) { sizes() },
		"hide":   func([]string) { hide() },
		"stat":   stat,
		"try":    func(a []string) { try(a[0]) },
		"stdin":  func([]string) { stdin() },
		"term":   func([]string) { term() },
		"ls":     func(a []string) { ls(a[0]) },
		"orphan": func([]string) { orphan() },
		"burn":   func(a []string) { burn(number(a[0])) },
	}[os.Args[1]]
	if !ok {
		fmt.Println("unknown command", os.Args[1])
		os.Exit(99)
	}
	do(args)
}

// echo writes what it reads, and ends with the code given.
func echo(a []string) {
	if _, err := io.Copy(os.Stdout, os.Stdin); err != nil {
		fail(err)
	}
	fmt.Fprintln(os.Stderr, "done")
	os.Exit(number(a[0]))
}

// sizes writes the size of its terminal whenever it changes, until it reads a line.
func sizes() {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, syscall.SIGWINCH)
	lines := make(chan string)
	var wg sync.WaitGroup
	wg.Go(func() {
		line, _ := bufio.NewReader(os.Stdin).ReadString('\n')
		lines <- line
	})
	for {
		ws, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
		if err != nil {
			fail(err)
		}
		fmt.Println("size", ws.Row, ws.Col, os.Getenv("TERM"))
		select {
		case <-ch:
		case line := <-lines:
			fmt.Print("read ", line)
			wg.Wait()
			os.Exit(4)
		}
	}
}

// hide leaves a child in a session of its own and does not go.
func hide() {
	cmd := exec.Command("/proc/self/exe", "sleep")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		fail(err)
	}
	signal.Ignore(syscall.SIGTERM, syscall.SIGHUP)
	fmt.Println("ready")
	waitFor("/no/such/file")
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		fail(err)
	}
	return n
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(98)
}

func printEnv([]string) {
	for _, kv := range os.Environ() {
		fmt.Println(kv)
	}
}

// waitFor returns when the file is there.
func waitFor(path string) {
	for {
		if _, err := os.Stat(path); err == nil {
			return
		}
		<-time.After(5 * time.Millisecond)
	}
}

func trap([]string) {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, syscall.SIGTERM, syscall.SIGHUP)
	fmt.Println("ready")
	for sig := range ch {
		fmt.Println(sig)
		if sig == syscall.SIGTERM {
			os.Exit(7)
		}
	}
}

func eat(mb int) {
	var all [][]byte
	for range mb {
		b := make([]byte, 1<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		all = append(all, b)
	}
	fmt.Println("ate", len(all))
}

// fork starts n children and says how many there were before the first failure.
func fork(n int) {
	started := 0
	for range n {
		if err := exec.Command("/proc/self/exe", "sleep").Start(); err != nil {
			break
		}
		started++
	}
	fmt.Println("children", started)
	os.Exit(0)
}

func cat(paths []string) {
	for _, p := range paths {
		if p == "" {
			continue
		}
		b, err := os.ReadFile(p)
		if err != nil {
			fail(err)
		}
		fmt.Printf("%s\n", b)
	}
}

func write(a []string) {
	if err := os.WriteFile(a[0], []byte(a[1]), 0o644); err != nil {
		fail(err)
	}
}

func self([]string) {
	host, _ := os.Hostname()
	dir, _ := os.Getwd()
	net, _ := os.Readlink("/proc/self/ns/net")
	fmt.Println("uid", os.Getuid(), "gid", os.Getgid())
	groups, _ := os.Getgroups()
	fmt.Println("groups", groups)
	fmt.Println("hostname", host)
	fmt.Println("dir", dir)
	fmt.Println("pid", os.Getpid())
	fmt.Println("netns", net)
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		fail(err)
	}
	for line := range strings.Lines(string(b)) {
		for _, key := range []string{"CapEff", "NoNewPrivs", "Seccomp:"} {
			if strings.HasPrefix(line, key) {
				fmt.Println(strings.Join(strings.Fields(line), " "))
			}
		}
	}
	score, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		fail(err)
	}
	fmt.Println("oom_score_adj", strings.TrimSpace(string(score)))
	if os.WriteFile("/proc/sys/vm/swappiness", []byte("60"), 0) == nil {
		fmt.Println("proc is writable")
	}
}

// stat says whose the paths are.
func stat(paths []string) {
	for _, p := range paths {
		if p == "" {
			continue
		}
		var st syscall.Stat_t
		if err := syscall.Stat(p, &st); err != nil {
			fmt.Println(p, err)
			continue
		}
		fmt.Printf("%s %o %d:%d %x\n", p, st.Mode&0o7777, st.Uid, st.Gid, st.Rdev)
	}
}

// try says whether a file can be made.
func try(path string) {
	err := os.WriteFile(path, []byte("x"), 0o600)
	fmt.Println("write", path, err)
}

// stdin says whether standard input is at its end or waits.
func stdin() {
	end := make(chan string, 1)
	go func() {
		n, err := os.Stdin.Read(make([]byte, 1))
		end <- fmt.Sprint("stdin ended ", n, err)
	}()
	select {
	case s := <-end:
		fmt.Println(s)
	case <-time.After(300 * time.Millisecond):
		fmt.Println("stdin is open")
	}
}

// term says which descriptors are a terminal.
func term() {
	for fd := range 3 {
		_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		fmt.Println("terminal", fd, err == nil)
	}
	fmt.Fprintln(os.Stderr, "on stderr", os.Getenv("TERM"))
}

func ls(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		fail(err)
	}
	for _, e := range entries {
		fmt.Println(e.Name())
	}
}

// orphan leaves a dead grandchild behind and says whether somebody reaped it.
func orphan() {
	out, err := exec.Command("/proc/self/exe", "fork", "1").Output() // its child sleeps on and is an orphan
	if err != nil {
		fail(err)
	}
	fmt.Print("parent ", os.Getppid(), " pid ", os.Getpid(), " ", string(out))
	paths, _ := os.ReadDir("/proc")
	for _, p := range paths {
		pid, err := strconv.Atoi(p.Name())
		b, rerr := os.ReadFile("/proc/" + p.Name() + "/cmdline")
		if err != nil || rerr != nil || pid == os.Getpid() || !strings.HasSuffix(string(b), "sleep\x00") {
			continue
		}
		_ = syscall.Kill(pid, syscall.SIGKILL)
		for range 200 {
			if _, err := os.Stat("/proc/" + p.Name()); err != nil {
				fmt.Println("reaped")
				return
			}
			<-time.After(5 * time.Millisecond)
		}
		fmt.Println("a zombie is left")
	}
}

// burn uses a core for so many milliseconds of wall time and says how much of it there was.
func burn(ms int) {
	began := time.Now()
	for time.Since(began) < time.Duration(ms)*time.Millisecond {
	}
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		fail(err)
	}
	fmt.Println("cpu", (u.Utime.Sec+u.Stime.Sec)*1000+(u.Utime.Usec+u.Stime.Usec)/1000)
}
