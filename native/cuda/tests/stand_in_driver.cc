// A stand-in for NVIDIA's driver library: what ILGPU calls of it, with one device whose memory is the host's and whose
// kernels run in the emulator. It lets tests go the whole way from C# to a kernel on a machine without a GPU, and see what
// happens when memory runs out or the device is lost. Kernels that are not hand-written, which would be ILGPU's own PTX,
// load and refuse to run.
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "cuda/emulator.h"

#define NL_DRIVER extern "C" __attribute__((visibility("default"))) int

namespace {

namespace emulator = nested_learning::emulator;

// Of cuda.h.
enum Result {
  kSuccess = 0,
  kInvalidValue = 1,
  kOutOfMemory = 2,
  kInvalidImage = 200,
  kInvalidPtx = 218,
  kNotFound = 500,
  kNotReady = 600,
  kOutOfResources = 701,
  kNotSupported = 801,
};

constexpr size_t kMemory = size_t{4} << 30;
constexpr int kSharedBytes = 48 << 10, kLargestSharedBytes = 163 << 10;

struct Function {
  std::string name;
  int shared_bytes = kSharedBytes;
};

struct Module {
  std::string image;
  std::unordered_map<std::string, Function> functions;
};

std::mutex g_lock;
std::unordered_map<uintptr_t, size_t> g_allocations;
size_t g_allocated = 0, g_limit = kMemory;
int g_launches = 0, g_waits = 0, g_fail_launch = -1, g_error = 0;
int g_version = 11080;
bool g_refuses = false;

void* Address(int64_t p) { return reinterpret_cast<void*>(static_cast<uintptr_t>(p)); }

}  // namespace

// ---- for tests ----

// Memory the device has from now on.
NL_DRIVER nl_stand_in_set_memory(int64_t bytes) {
  const std::lock_guard lock(g_lock);
  g_limit = bytes < 0 ? kMemory : static_cast<size_t>(bytes);
  return kSuccess;
}

// After so many more launches everything fails with this error, as on a device that was lost; 0 ends that.
NL_DRIVER nl_stand_in_fail(int launches, int error) {
  const std::lock_guard lock(g_lock);
  g_fail_launch = error ? g_launches + launches : -1;
  g_error = error;
  return kSuccess;
}

// The CUDA that the driver is of, such as 11080 for 11.8.
NL_DRIVER nl_stand_in_set_version(int version) {
  const std::lock_guard lock(g_lock);
  g_version = version;
  return kSuccess;
}

// Whether hand-written PTX is refused, as by a driver that is older than it or finds a mistake in it.
NL_DRIVER nl_stand_in_refuse(int refuses) {
  const std::lock_guard lock(g_lock);
  g_refuses = refuses != 0;
  return kSuccess;
}

NL_DRIVER nl_stand_in_launches() {
  const std::lock_guard lock(g_lock);
  return g_launches;
}

NL_DRIVER nl_stand_in_waits() {
  const std::lock_guard lock(g_lock);
  return g_waits;
}

// Bytes that are allocated.
extern "C" __attribute__((visibility("default"))) int64_t nl_stand_in_allocated() {
  const std::lock_guard lock(g_lock);
  return static_cast<int64_t>(g_allocated);
}

// 0 forward, 1 reverse, 2 random.
NL_DRIVER nl_stand_in_set_order(int order) {
  emulator::SetOrder(static_cast<emulator::Order>(order));
  return kSuccess;
}

// ---- the driver ----

static int Lost() {
  const std::lock_guard lock(g_lock);
  return g_fail_launch >= 0 && g_launches >= g_fail_launch ? g_error : kSuccess;
}

NL_DRIVER cuInit(unsigned) { return kSuccess; }

NL_DRIVER cuDriverGetVersion(int* version) {
  const std::lock_guard lock(g_lock);
  *version = g_version;
  return kSuccess;
}

NL_DRIVER cuDeviceGet(int* device, int ordinal) {
  *device = ordinal;
  return ordinal == 0 ? kSuccess : 101;
}

NL_DRIVER cuDeviceGetCount(int* count) {
  *count = 1;
  return kSuccess;
}

NL_DRIVER cuDeviceGetName(char* name, int length, int) {
  std::strncpy(name, "CUDA emulator", length);
  return kSuccess;
}

NL_DRIVER cuDeviceTotalMem_v2(size_t* bytes, int) {
  *bytes = kMemory;
  return kSuccess;
}

NL_DRIVER cuDeviceGetAttribute(int* value, int attribute, int) {
  switch (attribute) {
    case 1:  // threads of a block, and along x and y
    case 2:
    case 3:
      *value = 1024;
      break;
    case 4:
      *value = 64;
      break;
    case 5:  // blocks of a grid along x
      *value = 0x7fffffff;
      break;
    case 6:
    case 7:
      *value = 65535;
      break;
    case 8:
      *value = kSharedBytes;
      break;
    case 9:  // constant memory
      *value = 65536;
      break;
    case 10:  // a warp
      *value = 32;
      break;
    case 12:  // registers of a block
    case 82:
      *value = 65536;
      break;
    case 16:  // multiprocessors
      *value = 4;
      break;
    case 39:  // threads of a multiprocessor
      *value = 2048;
      break;
    case 75:  // compute capability
      *value = 8;
      break;
    case 81:
    case 97:
      *value = kLargestSharedBytes;
      break;
    default:
      *value = 0;
  }
  return kSuccess;
}

NL_DRIVER cuCtxCreate_v2(void** context, unsigned, int) {
  static char one;
  *context = &one;
  return kSuccess;
}
NL_DRIVER cuCtxDestroy_v2(void*) { return kSuccess; }
NL_DRIVER cuCtxSetCurrent(void*) { return kSuccess; }
NL_DRIVER cuCtxSynchronize() { return Lost(); }
NL_DRIVER cuCtxSetCacheConfig(int) { return kSuccess; }
NL_DRIVER cuCtxSetSharedMemConfig(int) { return kSuccess; }
NL_DRIVER cuCtxGetCacheConfig(int* value) {
  *value = 0;
  return kSuccess;
}
NL_DRIVER cuCtxGetSharedMemConfig(int* value) {
  *value = 0;
  return kSuccess;
}

NL_DRIVER cuMemGetInfo_v2(size_t* free_bytes, size_t* total) {
  const std::lock_guard lock(g_lock);
  *free_bytes = g_limit > g_allocated ? g_limit - g_allocated : 0;
  *total = g_limit;
  return kSuccess;
}

NL_DRIVER cuMemAlloc_v2(int64_t* address, size_t bytes) {
  if (const int lost = Lost()) return lost;
  const std::lock_guard lock(g_lock);
  void* memory = nullptr;
  if (g_allocated + bytes > g_limit || posix_memalign(&memory, 256, bytes)) return kOutOfMemory;
  // As unwritten as a device's: each float NaN.
  std::memset(memory, 0xff, bytes);
  g_allocations[reinterpret_cast<uintptr_t>(memory)] = bytes;
  g_allocated += bytes;
  *address = static_cast<int64_t>(reinterpret_cast<uintptr_t>(memory));
  return kSuccess;
}

NL_DRIVER cuMemFree_v2(int64_t address) {
  if (const int lost = Lost()) return lost;
  const std::lock_guard lock(g_lock);
  const auto found = g_allocations.find(static_cast<uintptr_t>(address));
  if (found == g_allocations.end()) return kInvalidValue;
  g_allocated -= found->second;
  g_allocations.erase(found);
  std::free(Address(address));
  return kSuccess;
}

NL_DRIVER cuMemcpyAsync(int64_t to, int64_t from, size_t bytes, void*) {
  if (const int lost = Lost()) return lost;
  std::memmove(Address(to), Address(from), bytes);
  return kSuccess;
}

NL_DRIVER cuMemsetD8Async(int64_t to, unsigned char value, size_t bytes, void*) {
  if (const int lost = Lost()) return lost;
  std::memset(Address(to), value, bytes);
  return kSuccess;
}

NL_DRIVER cuMemAllocHost_v2(void** memory, size_t bytes) {
  return posix_memalign(memory, 256, bytes) ? kOutOfMemory : kSuccess;
}
NL_DRIVER cuMemFreeHost(void* memory) {
  std::free(memory);
  return kSuccess;
}
NL_DRIVER cuMemHostRegister_v2(void*, size_t, unsigned) { return kSuccess; }
NL_DRIVER cuMemHostUnregister(void*) { return kSuccess; }
NL_DRIVER cuMemHostGetDevicePointer_v2(void** device, void* host, unsigned) {
  *device = host;
  return kSuccess;
}
NL_DRIVER cuPointerGetAttribute(void*, int, void*) { return kNotSupported; }

NL_DRIVER cuStreamCreate(void** stream, unsigned) {
  *stream = nullptr;
  return kSuccess;
}
NL_DRIVER cuStreamCreateWithPriority(void** stream, unsigned, int) {
  *stream = nullptr;
  return kSuccess;
}
NL_DRIVER cuStreamDestroy_v2(void*) { return kSuccess; }
NL_DRIVER cuStreamSynchronize(void*) {
  {
    const std::lock_guard lock(g_lock);
    g_waits++;
  }
  return Lost();
}

NL_DRIVER cuEventCreate(void** event, unsigned) {
  static char one;
  *event = &one;
  return kSuccess;
}
NL_DRIVER cuEventDestroy_v2(void*) { return kSuccess; }
NL_DRIVER cuEventQuery(void*) { return kSuccess; }
NL_DRIVER cuEventRecord(void*, void*) { return kSuccess; }
NL_DRIVER cuEventSynchronize(void*) { return kSuccess; }
NL_DRIVER cuEventElapsedTime(float* milliseconds, void*, void*) {
  *milliseconds = 0;
  return kSuccess;
}

NL_DRIVER cuModuleLoadData(Module** module, const char* image) {
  if (const int lost = Lost()) return lost;
  if (!std::strstr(image, ".version")) return kInvalidImage;
  {
    const std::lock_guard lock(g_lock);
    if (g_refuses && std::strstr(image, ".entry nl_")) return kInvalidPtx;
  }
  *module = new Module{image, {}};
  return kSuccess;
}
NL_DRIVER cuModuleLoadDataEx(Module** module, const char* image, unsigned, void*, void*) {
  return cuModuleLoadData(module, image);
}
NL_DRIVER cuModuleUnload(Module* module) {
  delete module;
  return kSuccess;
}

NL_DRIVER cuModuleGetFunction(Function** function, Module* module, const char* name) {
  if (module->image.find(".entry " + std::string(name) + "(") == std::string::npos)
    return kNotFound;
  *function = &module->functions.try_emplace(name, Function{name}).first->second;
  return kSuccess;
}

NL_DRIVER cuFuncSetAttribute(Function* function, int attribute, int value) {
  // The largest dynamic shared memory.
  if (attribute != 8 || value > kLargestSharedBytes) return kInvalidValue;
  function->shared_bytes = value;
  return kSuccess;
}

NL_DRIVER cuLaunchKernel(Function* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                         unsigned by, unsigned bz, unsigned shared_bytes, void*, void** arguments,
                         void**) {
  if (const int lost = Lost()) return lost;
  if (static_cast<int>(shared_bytes) > function->shared_bytes) return kOutOfResources;
  if (emulator::ArgumentSizes(function->name).empty()) return kNotSupported;
  {
    const std::lock_guard lock(g_lock);
    g_launches++;
  }
  emulator::Run(function->name, {{gx, gy, gz}, {bx, by, bz}, shared_bytes}, arguments);
  return kSuccess;
}

NL_DRIVER cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, void*, int, size_t) {
  *blocks = 1;
  return kSuccess;
}

NL_DRIVER cuGetErrorString(int error, const char** text) {
  switch (error) {
    case kOutOfMemory:
      *text = "out of memory";
      break;
    case kNotSupported:
      *text = "operation not supported: not a kernel of the emulator";
      break;
    case kInvalidPtx:
      *text = "a PTX JIT compilation failed";
      break;
    case kOutOfResources:
      *text = "too many resources requested for launch";
      break;
    case 700:
      *text = "an illegal memory access was encountered";
      break;
    case kNotFound:
      *text = "named symbol not found";
      break;
    default:
      *text = "an error of the stand-in driver";
  }
  return kSuccess;
}
