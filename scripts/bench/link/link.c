// A link between two network namespaces: delay, jitter, loss in bursts, reordering, a rate and a queue. The kernel's own
// TCP and UDP run over it unchanged, by a TUN device in each namespace, so that no netem is needed.
//
//   link NAMESPACE_A NAMESPACE_B DEVICE SEED
//
// Commands come on standard input, a line each, and a line answers each; the link is gone with its input.
//   shape DELAY_MS JITTER_MS LOSS BURST REORDER HOLD_MS RATE_MBIT QUEUE_BYTES
//   count
// Both directions have the same shape. LOSS and REORDER are shares of packets, 0 to 1. BURST is the mean number of packets
// that are lost in a row. A reordered packet comes HOLD_MS later than its time; all others keep their order. A rate or a
// queue of 0 has no limit. `count` answers, for A to B and then for B to A, with JSON: what arrived, also by the last number
// of the address that it went to, what the link lost and what found the queue full.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <math.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define MAX_PACKET 1600
#define MAX_PACKETS 65536
#define READS_IN_A_TURN 64
// Of an IPv4 header: the last byte of where the packet goes.
#define HOST_OFFSET 19
#define HOSTS 8
// The jitter wanders: each time it goes on from where it was, and not from one packet to the next.
#define JITTER_EVERY_NS 5000000ull
#define JITTER_STEP 0.25

typedef struct {
  uint64_t due_ns, order;
  int length;
  unsigned char bytes[MAX_PACKET];
} Packet;

typedef struct {
  double delay_ms, jitter_ms, loss, burst, reorder, hold_ms, rate_mbit, queue_bytes;
} Shape;

typedef struct {
  uint64_t packets, bytes, bytes_to[HOSTS], lost, full;
} Counts;

typedef struct {
  int in, out;
  // A heap by the time when they are due.
  Packet **heap, **spare;
  int queued, spares;
  uint64_t order, free_ns, last_due_ns, jitter_at_ns;
  double jitter;
  int losing;
  Counts counts;
} Direction;

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static int open_device(const char *namespace, const char *name) {
  char path[256];
  snprintf(path, sizeof path, "/var/run/netns/%s", namespace);
  int fd = open(path, O_RDONLY);
  if (fd < 0 || setns(fd, CLONE_NEWNET)) fail(path);
  close(fd);
  int device = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
  struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  if (device < 0 || ioctl(device, TUNSETIFF, &request)) fail("/dev/net/tun");
  return device;
}

static int is_before(const Packet *a, const Packet *b) {
  return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->order < b->order;
}

static void push(Direction *d, Packet *packet) {
  int i = d->queued++;
  for (; i > 0 && is_before(packet, d->heap[(i - 1) / 2]); i = (i - 1) / 2) d->heap[i] = d->heap[(i - 1) / 2];
  d->heap[i] = packet;
}

static Packet *pop(Direction *d) {
  Packet *first = d->heap[0], *last = d->heap[--d->queued];
  int i = 0;
  for (int child; (child = 2 * i + 1) < d->queued; i = child) {
    if (child + 1 < d->queued && is_before(d->heap[child + 1], d->heap[child])) child++;
    if (!is_before(d->heap[child], last)) break;
    d->heap[i] = d->heap[child];
  }
  d->heap[i] = last;
  return first;
}

// Two states (Gilbert): losses last `burst` packets in the mean, and make up `loss` of all.
static int is_lost(Direction *d, const Shape *s) {
  if (s->loss <= 0) return 0;
  double leave = 1 / (s->burst > 1 ? s->burst : 1);
  if (s->burst <= 1) return drand48() < s->loss;
  d->losing = d->losing ? drand48() >= leave : drand48() < leave * s->loss / (1 - s->loss);
  return d->losing;
}

static uint64_t jitter_ns(Direction *d, const Shape *s, uint64_t now) {
  if (s->jitter_ms <= 0) return 0;
  for (int steps = 0; d->jitter_at_ns + JITTER_EVERY_NS <= now; d->jitter_at_ns += JITTER_EVERY_NS) {
    if (++steps > 1000) d->jitter_at_ns = now - JITTER_EVERY_NS;
    d->jitter += (drand48() - 0.5) * 2 * JITTER_STEP;
    d->jitter = fmin(1, fmax(0, d->jitter));
  }
  return d->jitter * s->jitter_ms * 1e6;
}

static void take_in(Direction *d, const Shape *s) {
  for (int i = 0; i < READS_IN_A_TURN; i++) {
    Packet *packet = d->spares > 0 ? d->spare[--d->spares] : malloc(sizeof(Packet));
    if (packet == NULL) fail("malloc");
    packet->length = read(d->in, packet->bytes, MAX_PACKET);
    if (packet->length <= 0) {
      d->spare[d->spares++] = packet;
      return;
    }
    uint64_t now = now_ns(), start = d->free_ns > now ? d->free_ns : now;
    double ns_per_byte = s->rate_mbit > 0 ? 8000 / s->rate_mbit : 0;
    double waiting_bytes = ns_per_byte > 0 ? (start - now) / ns_per_byte : 0;
    int is_full = d->queued >= MAX_PACKETS - 1 || (s->queue_bytes > 0 && waiting_bytes + packet->length > s->queue_bytes);
    if (is_full) d->counts.full++;
    // What is lost has used the link, as on the air.
    else d->free_ns = start + (uint64_t)(packet->length * ns_per_byte);
    if (is_full || is_lost(d, s)) {
      if (!is_full) d->counts.lost++;
      d->spare[d->spares++] = packet;
      continue;
    }
    uint64_t due = d->free_ns + (uint64_t)(s->delay_ms * 1e6) + jitter_ns(d, s, now);
    if (due < d->last_due_ns) due = d->last_due_ns;
    d->last_due_ns = due;
    packet->due_ns = s->reorder > 0 && drand48() < s->reorder ? due + (uint64_t)(s->hold_ms * 1e6) : due;
    packet->order = d->order++;
    push(d, packet);
  }
}

static void give_out(Direction *d) {
  for (uint64_t now = now_ns(); d->queued > 0 && d->heap[0]->due_ns <= now;) {
    Packet *packet = pop(d);
    if (write(d->out, packet->bytes, packet->length) == packet->length) {
      d->counts.packets++;
      d->counts.bytes += packet->length;
      d->counts.bytes_to[packet->bytes[HOST_OFFSET] % HOSTS] += packet->length;
    }
    d->spare[d->spares++] = packet;
  }
}

static void print_counts(const Direction *d) {
  const Counts *c = &d->counts;
  printf("{\"packets\":%lu,\"bytes\":%lu,\"lost\":%lu,\"full\":%lu,\"bytesTo\":[", c->packets, c->bytes, c->lost, c->full);
  for (int i = 0; i < HOSTS; i++) printf("%s%lu", i > 0 ? "," : "", c->bytes_to[i]);
  printf("]}");
}

static void obey(const char *line, Direction *d, Shape *shape) {
  Shape s;
  if (sscanf(line, "shape %lf %lf %lf %lf %lf %lf %lf %lf", &s.delay_ms, &s.jitter_ms, &s.loss, &s.burst, &s.reorder,
             &s.hold_ms, &s.rate_mbit, &s.queue_bytes) == 8) {
    *shape = s;
    for (int i = 0; i < 2; i++) d[i].free_ns = d[i].last_due_ns = d[i].losing = 0, d[i].jitter_at_ns = now_ns();
    printf("shaped\n");
  } else if (strncmp(line, "count", 5) == 0) {
    printf("[");
    print_counts(&d[0]);
    printf(",");
    print_counts(&d[1]);
    printf("]\n");
  } else {
    printf("unknown: %s\n", line);
  }
  fflush(stdout);
}

// Lines that are whole; what is left of one stays for later.
static void read_commands(Direction *d, Shape *shape) {
  static char text[4096];
  static size_t length;
  ssize_t got = read(STDIN_FILENO, text + length, sizeof text - 1 - length);
  if (got <= 0) exit(0);
  length += got;
  for (char *end; (end = memchr(text, '\n', length)) != NULL;) {
    *end = 0;
    obey(text, d, shape);
    length -= end + 1 - text;
    memmove(text, end + 1, length);
  }
  if (length == sizeof text - 1) exit(1);
}

int main(int count, char **arguments) {
  if (count != 5) return 2;
  srand48(atol(arguments[4]));
  // On a busy machine the link is to be no later than its packets. Who may not do that measures a little more.
  setpriority(PRIO_PROCESS, 0, -15);
  int a = open_device(arguments[1], arguments[3]), b = open_device(arguments[2], arguments[3]);
  Direction directions[2] = {{.in = a, .out = b}, {.in = b, .out = a}};
  for (int i = 0; i < 2; i++) {
    directions[i].heap = calloc(MAX_PACKETS, sizeof(Packet *));
    directions[i].spare = calloc(MAX_PACKETS + 1, sizeof(Packet *));
  }
  Shape shape = {0};
  int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  if (timer < 0) fail("timerfd_create");
  printf("up\n");
  fflush(stdout);
  for (;;) {
    uint64_t next_ns = UINT64_MAX;
    for (int i = 0; i < 2; i++) {
      give_out(&directions[i]);
      if (directions[i].queued > 0 && directions[i].heap[0]->due_ns < next_ns) next_ns = directions[i].heap[0]->due_ns;
    }
    struct itimerspec due = {0};
    if (next_ns != UINT64_MAX) due.it_value = (struct timespec){next_ns / 1000000000ull, next_ns % 1000000000ull};
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &due, NULL);
    struct pollfd wait[4] = {{a, POLLIN, 0}, {b, POLLIN, 0}, {timer, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    if (poll(wait, 4, -1) < 0 && errno != EINTR) fail("poll");
    uint64_t fired;
    if (read(timer, &fired, sizeof fired) < 0 && errno != EAGAIN) fail("timerfd");
    for (int i = 0; i < 2; i++) take_in(&directions[i], &shape);
    if (wait[3].revents != 0) read_commands(directions, &shape);
  }
}
