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
		"exit":  func(a []string) { os.Exit(number(a[0])) },
		"print": func(a []string) { fmt.Println(a[0]); fmt.Fprintln(os.Stderr, a[1]) },
		"env":   printEnv,
		"args":  func(a []string) { fmt.Printf("%q\n", a[:len(a)-2]) },
		"sleep": func([]string) { waitFor("/no/such/file") },
		"after": func(a []string) { waitFor(a[0]); os.Exit(number(a[1])) },
		"trap":  trap,
		"eat":   func(a []string) { eat(number(a[0])); os.Exit(0) },
		"fork":  func(a []string) { fork(number(a[0])) },
		"cat":   cat,
		"write": write,
		"self":  self,
		"echo":  echo,
		"sizes": func([]string) { sizes() },
		"hide":  func([]string) { hide() },
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
