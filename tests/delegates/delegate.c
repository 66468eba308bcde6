/* A TensorFlow Lite external delegate for the tests. It really executes DEQUANTIZE nodes, and
 * "edgetpu-custom-op" nodes (which in the tests' models mean the same), and goes wrong on demand.
 *
 * What it does is one word, from the option "behave" or else from the file that $DELEGATE_BEHAVIOUR
 * names, read when the delegate is created:
 *
 *   works              nothing goes wrong
 *   idle               accepted, but takes no node
 *   none               there is no device: fails without a word, as libedgetpu does
 *   refuses            fails to start, and says why
 *   WHAT@N             WHAT happens in its Nth invoke (the 1st is the dry run; 0: on creation)
 *     hangs@N aborts@N segfaults@N fails@N slow:MS@N (from the Nth on, MS milliseconds more each)
 *   leaks:KIB@N        from its Nth invoke on, KIB more of memory each that nobody gives back
 *   reverses@N         from its Nth invoke on, the results stand in the wrong order
 *   shrinks@N          from its Nth invoke on, the results are 15 % too small
 *   COUNTx:WORD        only the first COUNT processes do WORD, the others work; counted by the size
 *                      of the file $DELEGATE_BEHAVIOUR.count
 *
 * The runtimes' wheels come without headers. The declarations below are the part of TensorFlow
 * Lite's public C API (lite/core/c/common.h) that is the same in tflite-runtime 2.14 and LiteRT 2.x;
 * TfLiteRegistration goes by value and has grown, so it ends with room that is zero.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

enum { OK = 0, ERROR = 1, ALLOW_DYNAMIC_TENSORS = 1 };
enum { BUILTIN_DEQUANTIZE = 6, BUILTIN_CUSTOM = 32, UINT8 = 3, INT8 = 9 };

typedef struct { int size; int data[]; } IntArray;

typedef struct {
  int type;
  void *data;
  IntArray *dims;
  struct { float scale; int32_t zero_point; } params;
  int allocation_type;
  size_t bytes;
  const void *allocation;
  const char *name;
  void *delegate;
  int buffer_handle;
  bool data_is_stale;
  bool is_variable;
  struct { int type; void *params; } quantization;
  void *sparsity;
  const IntArray *dims_signature;
} Tensor;

typedef struct {
  IntArray *inputs, *outputs, *intermediates, *temporaries;
  void *user_data, *builtin_data;
  const void *custom_initial_data;
  int custom_initial_data_size;
  void *delegate;
  bool might_have_side_effect;
} Node;

typedef struct Context Context;
typedef struct Delegate Delegate;

typedef struct {
  void *(*init)(Context *, const char *, size_t);
  void (*free)(Context *, void *);
  int (*prepare)(Context *, Node *);
  int (*invoke)(Context *, Node *);
  const char *(*profiling_string)(const Context *, const Node *);
  int32_t builtin_code;
  const char *custom_name;
  int version;
  void *room[4];
} Registration;

struct Context {
  size_t tensors_size;
  int (*GetExecutionPlan)(Context *, IntArray **);
  Tensor *tensors;
  void *impl_;
  int (*ResizeTensor)(Context *, Tensor *, IntArray *);
  void (*ReportError)(Context *, const char *, ...);
  int (*AddTensors)(Context *, int, int *);
  int (*GetNodeAndRegistration)(Context *, int, Node **, Registration **);
  int (*ReplaceNodeSubsetsWithDelegateKernels)(Context *, Registration, const IntArray *, Delegate *);
};

typedef struct {
  Delegate *delegate;
  IntArray *nodes_to_replace, *input_tensors, *output_tensors;
} Params;

struct Delegate {
  void *data_;
  int (*Prepare)(Context *, Delegate *);
  int (*CopyFromBufferHandle)(Context *, Delegate *, int, Tensor *);
  int (*CopyToBufferHandle)(Context *, Delegate *, int, Tensor *);
  void (*FreeBufferHandle)(Context *, Delegate *, int *);
  int64_t flags;
  void *opaque_delegate_builder;
};

/* ---- what goes wrong, and when */

static char behaviour[256] = "works";
static long invokes;

static void choose(const char *word, const char *file) {
  int count = 0, used = 0;
  char path[4096];
  invokes = 0;
  snprintf(behaviour, sizeof behaviour, "%s", word);
  behaviour[strcspn(behaviour, "\n")] = 0;
  if (sscanf(behaviour, "%dx:%n", &count, &used) != 1 || used == 0 || file == NULL) return;
  snprintf(path, sizeof path, "%s.count", file);
  FILE *counter = fopen(path, "ab");
  if (counter == NULL) return;
  fseek(counter, 0, SEEK_END);
  long before = ftell(counter);
  fputc('x', counter);
  fclose(counter);
  if (before < count)
    memmove(behaviour, behaviour + used, strlen(behaviour + used) + 1);
  else
    strcpy(behaviour, "works");
}

static bool is(const char *word) { return strncmp(behaviour, word, strlen(word)) == 0; }

static bool lies(const char *word) {
  const char *at = strchr(behaviour, '@');
  return is(word) && at != NULL && invokes >= atol(at + 1);
}

static int go_wrong(void) {
  const char *at = strchr(behaviour, '@');
  if (at == NULL) return OK;
  long number = atol(at + 1);
  if (is("slow:") && invokes >= number) {
    long ms = atol(behaviour + 5);
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
  }
  if (is("leaks:") && invokes >= number) {
    size_t bytes = (size_t)atol(behaviour + 6) * 1024;
    void *lost = malloc(bytes);
    if (lost != NULL) memset(lost, 1, bytes); /* written to, or it would not be resident */
  }
  if (invokes != number) return OK;
  if (is("hangs")) for (;;) pause();
  if (is("aborts")) {
    fputs("F driver/usb/usb_driver.cc:834] transfer on tag 2 failed. Abort. Deadline exceeded\n", stderr);
    abort();
  }
  if (is("segfaults")) *(volatile int *)NULL = 0;
  return is("fails") ? ERROR : OK;
}

/* ---- the kernel: one for each run of nodes that was taken */

typedef struct { int count; int tensors[][2]; } Kernel;

static void *kernel_init(Context *context, const char *buffer, size_t length) {
  const IntArray *taken = ((const Params *)buffer)->nodes_to_replace;
  Kernel *kernel = malloc(sizeof *kernel + taken->size * sizeof kernel->tensors[0]);
  (void)length;
  kernel->count = taken->size;
  for (int i = 0; i < taken->size; i++) {
    Node *node;
    Registration *registration;
    context->GetNodeAndRegistration(context, taken->data[i], &node, &registration);
    kernel->tensors[i][0] = node->inputs->data[0];
    kernel->tensors[i][1] = node->outputs->data[0];
  }
  return kernel;
}

static void kernel_free(Context *context, void *kernel) {
  (void)context;
  free(kernel);
}

static int kernel_prepare(Context *context, Node *node) {
  (void)context, (void)node;
  return OK; /* the file gives the outputs' shapes */
}

static int kernel_invoke(Context *context, Node *node) {
  const Kernel *kernel = node->user_data;
  invokes++;
  if (go_wrong() != OK) {
    context->ReportError(context, "the test's delegate fails in invoke %ld", invokes);
    return ERROR;
  }
  for (int i = 0; i < kernel->count; i++) {
    const Tensor *in = &context->tensors[kernel->tensors[i][0]];
    float *out = context->tensors[kernel->tensors[i][1]].data;
    for (size_t k = 0; k < in->bytes; k++) {
      int value = in->type == INT8 ? ((int8_t *)in->data)[k] : ((uint8_t *)in->data)[k];
      float real = in->params.scale * (float)(value - in->params.zero_point);
      out[lies("reverses") ? in->bytes - 1 - k : k] = lies("shrinks") ? 0.85f * real : real;
    }
  }
  return OK;
}

/* ---- the delegate */

static bool mine(Context *context, int index) {
  Node *node;
  Registration *registration;
  if (context->GetNodeAndRegistration(context, index, &node, &registration) != OK) return false;
  int type = node->inputs->size ? context->tensors[node->inputs->data[0]].type : 0;
  if (type != UINT8 && type != INT8) return false;
  return registration->builtin_code == BUILTIN_DEQUANTIZE ||
         (registration->builtin_code == BUILTIN_CUSTOM && registration->custom_name != NULL &&
          strcmp(registration->custom_name, "edgetpu-custom-op") == 0);
}

static int delegate_prepare(Context *context, Delegate *delegate) {
  IntArray *plan;
  if (is("idle")) return OK;
  if (context->GetExecutionPlan(context, &plan) != OK) return ERROR;
  IntArray *taken = malloc(sizeof *taken + plan->size * sizeof taken->data[0]);
  taken->size = 0;
  for (int i = 0; i < plan->size; i++)
    if (mine(context, plan->data[i])) taken->data[taken->size++] = plan->data[i];
  Registration registration = {
    .init = kernel_init, .free = kernel_free, .prepare = kernel_prepare, .invoke = kernel_invoke,
    .custom_name = "tests", .version = 1,
  };
  int status = context->ReplaceNodeSubsetsWithDelegateKernels(context, registration, taken, delegate);
  free(taken);
  return status;
}

Delegate *tflite_plugin_create_delegate(const char *const *keys, const char *const *values, size_t count,
                                        void (*report_error)(const char *)) {
  const char *file = getenv("DELEGATE_BEHAVIOUR");
  const char *word = NULL;
  char line[256] = "";
  for (size_t i = 0; i < count; i++)
    if (strcmp(keys[i], "behave") == 0) word = values[i];
  if (word == NULL && file != NULL) {
    FILE *stream = fopen(file, "r");
    if (stream != NULL) {
      if (fgets(line, sizeof line, stream) != NULL) word = line;
      fclose(stream);
    }
  }
  choose(word == NULL ? "works" : word, file);
  if (is("none")) return NULL;
  if (is("refuses")) {
    report_error("the tests do not want it to start");
    return NULL;
  }
  if (go_wrong() != OK) return NULL;
  if (file != NULL) { /* one process at a time holds the device; the lock ends with the process */
    char path[4096];
    snprintf(path, sizeof path, "%s.device", file);
    if (flock(open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600), LOCK_EX | LOCK_NB) != 0) return NULL;
  }
  Delegate *delegate = calloc(1, sizeof *delegate);
  delegate->Prepare = delegate_prepare;
  /* Otherwise the runtime prepares all nodes first, to look for dynamic tensors, and meets the
   * custom op that only this delegate knows. */
  delegate->flags = ALLOW_DYNAMIC_TENSORS;
  return delegate;
}

void tflite_plugin_destroy_delegate(Delegate *delegate) { free(delegate); }
