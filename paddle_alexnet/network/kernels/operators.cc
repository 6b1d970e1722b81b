// Custom Paddle operators for the most expensive layers of AlexNet in training on a CPU, float32, NCHW:
//
//   alexnet_convolution        with bias and optional ReLU; forward, gradients of weights, bias and input
//   alexnet_first_convolution  the same, without the gradient of its input, the image
//   alexnet_lrn                local response normalization across channels, one pass over memory each way
//   alexnet_max_pool           max-pooling, padding with minus infinity
//   alexnet_linear             with bias and optional ReLU; forward, Paddle computes the gradients
//
// The gradient of a ReLU is masked by the convolution (`mask`), or by the next operator (`rectified`), which saves one
// pass over memory. `padding` is left, right, top, bottom. oneDNN, from the library in Paddle's wheel, computes the
// convolutions in its own layouts; inputs and outputs are reordered from and to NCHW. The order of every sum depends
// only on the shapes and the number of threads, so results are bit-identical.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "oneapi/dnnl/dnnl.hpp"
#include "paddle/extension.h"

using dnnl::memory;
using dnnl::primitive_attr;
using paddle::Tensor;
using tag = memory::format_tag;

namespace {

void check(const Tensor& x, const char* what) {
  PD_CHECK(x.is_cpu() && x.dtype() == paddle::DataType::FLOAT32, what, ": float32 tensors on the CPU are expected");
}

// ------------------------------------------------------------------------------------------------ convolution

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

// The C++ interface calls functions with the suffix _v2, which the wheel's library lacks: call the older ones here and
// in Call::at.
size_t bytes(const memory::desc& layout) { return dnnl_memory_desc_get_size(layout.get()); }

// One call's stream and temporary memory. Paddle allocates the memory, so the next call reuses it.
class Call {
 public:
  Call() : stream_(engine()) {}

  float* temporary(size_t size) {
    temporaries_.push_back(paddle::empty({static_cast<int64_t>(size / sizeof(float)) + 1}));
    return temporaries_.back().data<float>();
  }

  memory at(const memory::desc& layout, const float* data) {
    dnnl_memory_t made = nullptr;
    void* handle = const_cast<float*>(data);
    dnnl::error::wrap_c_api(dnnl_memory_create(&made, layout.get(), engine().get(), handle), "dnnl_memory_create");
    memory result;
    result.reset(made);
    return result;
  }

  // Reorders to the wanted layout if necessary.
  memory in(const memory::desc& wanted, const memory::desc& layout, const float* data) {
    memory source = at(layout, data);
    if (wanted == layout) return source;
    memory target = at(wanted, temporary(bytes(wanted)));
    reorder(source, target);
    return target;
  }

  // The memory for a result that is needed in `layout` at `data`: `data` itself, or a temporary if the layouts differ.
  memory out(const memory::desc& computed, const memory::desc& layout, float* data) {
    return computed == layout ? at(layout, data) : at(computed, temporary(bytes(computed)));
  }

  void deliver(memory result, const memory::desc& layout, float* data) {
    if (result.get_desc() == layout) return;
    memory target = at(layout, data);
    reorder(result, target);
  }

  template <typename Description>
  void run(const Description& description, std::unordered_map<int, memory> arguments) {
    const memory::desc scratchpad = description.scratchpad_desc();
    if (const size_t size = bytes(scratchpad)) arguments[DNNL_ARG_SCRATCHPAD] = at(scratchpad, temporary(size));
    dnnl::primitive(description).execute(stream_, arguments);
    stream_.wait();
  }

 private:
  void reorder(memory& source, memory& target) {
    dnnl::reorder(source, target).execute(stream_, source, target);
    stream_.wait();
  }

  dnnl::stream stream_;
  std::vector<Tensor> temporaries_;
};

// The shapes of a convolution, and NCHW descriptions of its tensors.
struct Shapes {
  memory::dims source, weights, bias, result, strides, before, after;

  Shapes(const Tensor& x, const Tensor& w, int stride, const std::vector<int>& padding, int groups) {
    source = x.shape();
    const memory::dims filters = w.shape();  // O, I / groups, height, width
    weights = groups == 1 ? filters
                          : memory::dims{groups, filters[0] / groups, filters[1], filters[2], filters[3]};
    bias = {filters[0]};
    before = {padding[2], padding[0]};  // top, left
    after = {padding[3], padding[1]};   // bottom, right
    strides = {stride, stride};
    result = {source[0], filters[0], (source[2] + padding[2] + padding[3] - filters[2]) / stride + 1,
              (source[3] + padding[0] + padding[1] - filters[3]) / stride + 1};
  }

  static memory::desc any(const memory::dims& dims) { return {dims, memory::data_type::f32, tag::any}; }

  static memory::desc plain(const memory::dims& dims) {
    const tag tags[] = {tag::a, tag::ab, tag::abc, tag::abcd, tag::abcde};
    return {dims, memory::data_type::f32, tags[dims.size() - 1]};
  }
};

primitive_attr attributes(bool relu) {
  primitive_attr result;
  result.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (relu) {
    dnnl::post_ops after;
    after.append_eltwise(dnnl::algorithm::eltwise_relu, 0.0f, 0.0f);
    result.set_post_ops(after);
  }
  return result;
}

const auto direct = dnnl::algorithm::convolution_direct;

dnnl::convolution_forward::primitive_desc forward_of(const Shapes& s, bool relu) {
  return {engine(), dnnl::prop_kind::forward_training, direct, Shapes::any(s.source), Shapes::any(s.weights),
          Shapes::plain(s.bias), Shapes::any(s.result), s.strides, s.before, s.after, attributes(relu)};
}

std::vector<Tensor> Convolution(const Tensor& x, const Tensor& w, const Tensor& b, int stride,
                                const std::vector<int>& padding, int groups, bool relu, bool mask) {
  for (const Tensor* each : {&x, &w, &b}) check(*each, "convolution");
  const Shapes s(x, w, stride, padding, groups);
  const auto description = forward_of(s, relu);
  Tensor y = paddle::empty(s.result);
  Call call;
  memory result = call.out(description.dst_desc(), Shapes::plain(s.result), y.data<float>());
  call.run(description, {{DNNL_ARG_SRC, call.in(description.src_desc(), Shapes::plain(s.source), x.data<float>())},
                         {DNNL_ARG_WEIGHTS,
                          call.in(description.weights_desc(), Shapes::plain(s.weights), w.data<float>())},
                         {DNNL_ARG_BIAS, call.at(description.bias_desc(), b.data<float>())},
                         {DNNL_ARG_DST, result}});
  call.deliver(result, Shapes::plain(s.result), y.data<float>());
  return {y};
}

// masked = dy if y > 0, else 0: the gradient of ReLU.
void mask_gradient(const Tensor& y, const Tensor& dy, float* masked) {
  const float *value = y.data<float>(), *given = dy.data<float>();
  const int64_t count = dy.numel();
#pragma omp parallel for simd schedule(static)
  for (int64_t i = 0; i < count; ++i) masked[i] = value[i] > 0 ? given[i] : 0.0f;
}

// dx (if `input`), dw and db.
std::vector<Tensor> Gradients(const Tensor& x, const Tensor& w, const Tensor& b, const Tensor& y, const Tensor& dy,
                              int stride, const std::vector<int>& padding, int groups, bool relu, bool mask,
                              bool input) {
  check(dy, "gradient of a convolution");
  const Shapes s(x, w, stride, padding, groups);
  const auto forward = forward_of(s, relu);
  const dnnl::convolution_backward_weights::primitive_desc by_weights(
      engine(), direct, Shapes::any(s.source), Shapes::any(s.weights), Shapes::plain(s.bias), Shapes::any(s.result),
      s.strides, s.before, s.after, forward, attributes(false));
  Call call;
  const float* gradient = dy.data<float>();
  if (relu && mask) {
    float* masked = call.temporary(dy.numel() * sizeof(float));
    mask_gradient(y, dy, masked);
    gradient = masked;
  }
  memory result = call.in(by_weights.diff_dst_desc(), Shapes::plain(s.result), gradient);
  Tensor dw = paddle::empty(w.shape()), db = paddle::empty(b.shape());
  memory weights = call.out(by_weights.diff_weights_desc(), Shapes::plain(s.weights), dw.data<float>());
  call.run(by_weights, {{DNNL_ARG_SRC, call.in(by_weights.src_desc(), Shapes::plain(s.source), x.data<float>())},
                        {DNNL_ARG_DIFF_DST, result},
                        {DNNL_ARG_DIFF_WEIGHTS, weights},
                        {DNNL_ARG_DIFF_BIAS, call.at(by_weights.diff_bias_desc(), db.data<float>())}});
  call.deliver(weights, Shapes::plain(s.weights), dw.data<float>());
  if (!input) return {dw, db};

  const dnnl::convolution_backward_data::primitive_desc by_input(
      engine(), direct, Shapes::any(s.source), Shapes::any(s.weights), Shapes::any(s.result), s.strides, s.before,
      s.after, forward, attributes(false));
  if (by_input.diff_dst_desc() != by_weights.diff_dst_desc())
    result = call.in(by_input.diff_dst_desc(), Shapes::plain(s.result), gradient);
  Tensor dx = paddle::empty(x.shape());
  memory source = call.out(by_input.diff_src_desc(), Shapes::plain(s.source), dx.data<float>());
  call.run(by_input, {{DNNL_ARG_DIFF_DST, result},
                      {DNNL_ARG_WEIGHTS, call.in(by_input.weights_desc(), Shapes::plain(s.weights), w.data<float>())},
                      {DNNL_ARG_DIFF_SRC, source}});
  call.deliver(source, Shapes::plain(s.source), dx.data<float>());
  return {dx, dw, db};
}

std::vector<Tensor> AllGradients(const Tensor& x, const Tensor& w, const Tensor& b, const Tensor& y, const Tensor& dy,
                                 int stride, const std::vector<int>& padding, int groups, bool relu, bool mask) {
  return Gradients(x, w, b, y, dy, stride, padding, groups, relu, mask, true);
}

std::vector<Tensor> GradientsOfParameters(const Tensor& x, const Tensor& w, const Tensor& b, const Tensor& y,
                                          const Tensor& dy, int stride, const std::vector<int>& padding, int groups,
                                          bool relu, bool mask) {
  return Gradients(x, w, b, y, dy, stride, padding, groups, relu, mask, false);
}

// ------------------------------------------------------------------------------------------------ normalization

constexpr int kStrip = 32;  // pixels that are processed together through all channels, to stay in the cache

struct Row {
  float at[kStrip];
};

// sums[c] = rows[c] + ... + rows[c + size - 1]
template <int kSize>
void sum_rows(const Row* rows, Row* __restrict sums, int channels, int size) {
  for (int c = 0; c < channels; ++c)
    for (int i = 0; i < kStrip; ++i) {
      float sum = rows[c].at[i];
      for (int j = 1; j < (kSize ? kSize : size); ++j) sum += rows[c + j].at[i];
      sums[c].at[i] = sum;
    }
}

void sum_of_neighbors(const Row* rows, Row* sums, int channels, int size) {
  if (size == 5)
    sum_rows<5>(rows, sums, channels, size);
  else
    sum_rows<0>(rows, sums, channels, size);
}

struct Norm {
  int size;
  float a, beta, k;

  // In place d = k + a S of the sums S; powers = d ** -beta.
  void operator()(Row* __restrict sums, Row* __restrict powers, int channels) const {
    for (int c = 0; c < channels; ++c) {
      float *d = sums[c].at, *power = powers[c].at;
      if (beta == 0.75f)  // 1 / (d ** 0.5 * d ** 0.25) without pow, which is slow
        for (int i = 0; i < kStrip; ++i) {
          d[i] = k + a * d[i];
          const float root = std::sqrt(d[i]);
          power[i] = 1.0f / (root * std::sqrt(root));
        }
      else
        for (int i = 0; i < kStrip; ++i) {
          d[i] = k + a * d[i];
          power[i] = std::pow(d[i], -beta);
        }
    }
  }
};

// Loads `count` pixels of every channel and fills the rest of each row with zeros.
void load(const float* from, int64_t pixels, int channels, int count, Row* rows) {
  for (int c = 0; c < channels; ++c, from += pixels) {
    if (count == kStrip) {
      std::copy_n(from, kStrip, rows[c].at);
    } else {
      std::copy_n(from, count, rows[c].at);
      std::fill(rows[c].at + count, rows[c].at + kStrip, 0.0f);
    }
  }
}

void store(const Row* rows, int64_t pixels, int channels, int count, float* to) {
  for (int c = 0; c < channels; ++c, to += pixels) {
    if (count == kStrip)
      std::copy_n(rows[c].at, kStrip, to);
    else
      std::copy_n(rows[c].at, count, to);
  }
}

// Calls work(offset, pixels, buffers) for every strip of x [columns, channels, pixels]; each buffer of rows has
// `margin` rows of zeros before and after it.
template <typename Work>
void for_strips(int64_t columns, int channels, int64_t pixels, int buffers, int margin, const Work& work) {
  const int64_t strips = (pixels + kStrip - 1) / kStrip;
#pragma omp parallel
  {
    std::vector<Row> memory(buffers * (channels + 2 * margin), Row{});
    std::vector<Row*> rows;
    for (int n = 0; n < buffers; ++n) rows.push_back(memory.data() + n * (channels + 2 * margin) + margin);
#pragma omp for schedule(static)
    for (int64_t n = 0; n < columns * strips; ++n) {
      const int64_t from = n % strips * kStrip;
      work(n / strips * channels * pixels + from, std::min<int64_t>(kStrip, pixels - from), rows.data());
    }
  }
}

std::vector<Tensor> Lrn(const Tensor& x, int size, float a, float beta, float k, int groups, bool rectified) {
  check(x, "LRN");
  const std::vector<int64_t> shape = x.shape();
  const int channels = shape[1] / groups;
  const int64_t pixels = shape[2] * shape[3];
  Tensor y = paddle::empty(shape);
  const float* source = x.data<float>();
  float* target = y.data<float>();
  const Norm norm{size, a, beta, k};
  for_strips(shape[0] * groups, channels, pixels, 4, size / 2, [=](int64_t start, int count, Row** buffers) {
    Row *value = buffers[0], *square = buffers[1], *sum = buffers[2], *power = buffers[3];
    load(source + start, pixels, channels, count, value);
    for (int c = 0; c < channels; ++c)
      for (int i = 0; i < kStrip; ++i) square[c].at[i] = value[c].at[i] * value[c].at[i];
    sum_of_neighbors(square - size / 2, sum, channels, size);
    norm(sum, power, channels);
    for (int c = 0; c < channels; ++c)
      for (int i = 0; i < kStrip; ++i) value[c].at[i] *= power[c].at[i];
    store(value, pixels, channels, count, target + start);
  });
  return {y};
}

// dx[c] = dy[c] d[c] ** -beta - 2 a beta x[c] * the sum over the neighbors j of dy[j] x[j] d[j] ** (-beta - 1)
std::vector<Tensor> LrnGradient(const Tensor& x, const Tensor& dy, int size, float a, float beta, float k,
                                int groups, bool rectified) {
  check(dy, "gradient of LRN");
  const std::vector<int64_t> shape = x.shape();
  const int channels = shape[1] / groups;
  const int64_t pixels = shape[2] * shape[3];
  Tensor dx = paddle::empty(shape);
  const float *source = x.data<float>(), *given = dy.data<float>();
  float* target = dx.data<float>();
  const Norm norm{size, a, beta, k};
  for_strips(shape[0] * groups, channels, pixels, 5, size / 2, [=](int64_t start, int count, Row** buffers) {
    Row *value = buffers[0], *gradient = buffers[1], *term = buffers[2], *sum = buffers[3], *power = buffers[4];
    load(source + start, pixels, channels, count, value);
    load(given + start, pixels, channels, count, gradient);
    for (int c = 0; c < channels; ++c)
      for (int i = 0; i < kStrip; ++i) term[c].at[i] = value[c].at[i] * value[c].at[i];
    sum_of_neighbors(term - size / 2, sum, channels, size);
    norm(sum, power, channels);
    for (int c = 0; c < channels; ++c)
      for (int i = 0; i < kStrip; ++i) {
        gradient[c].at[i] *= power[c].at[i];
        term[c].at[i] = gradient[c].at[i] * value[c].at[i] / sum[c].at[i];
      }
    sum_of_neighbors(term - size / 2, sum, channels, size);
    for (int c = 0; c < channels; ++c)
      for (int i = 0; i < kStrip; ++i)
        gradient[c].at[i] -= 2 * a * beta * value[c].at[i] * sum[c].at[i];
    for (int c = 0; c < (rectified ? channels : 0); ++c)
      for (int i = 0; i < kStrip; ++i) gradient[c].at[i] = value[c].at[i] > 0 ? gradient[c].at[i] : 0.0f;
    store(gradient, pixels, channels, count, target + start);
  });
  return {dx};
}

// ------------------------------------------------------------------------------------------------ max-pooling

constexpr int kNowhere = 255;  // a window within the padding
constexpr float kLowest = -std::numeric_limits<float>::infinity();

// Copies columns p, p + stride, p + 2 stride, ... (counted from -left) of a row to parts[p * size] for each p, so that
// the first columns of neighboring windows are contiguous. Columns beyond the row are not written.
void split(const float* row, int width, int left, int stride, int length, int64_t size, float* parts) {
  if (stride == 2 && left == 0) {
    for (int c = 0; c < std::min((width + 1) / 2, length); ++c) parts[c] = row[2 * c];
    for (int c = 0; c < std::min(width / 2, length); ++c) parts[size + c] = row[2 * c + 1];
    return;
  }
  for (int p = 0; p < stride; ++p)
    for (int c = 0; c < length; ++c) {
      const int column = c * stride + p - left;
      if (column >= 0 && column < width) parts[p * size + c] = row[column];
    }
}

// Keeps the larger value and its place, the first of equal values; NaN propagates. `count` is a multiple of 16.
template <typename Where>
inline void keep_larger(const float* value, const Where& where, int64_t count, float* __restrict best,
                        int* __restrict place) {
  for (int64_t c = 0; c < count / 16 * 16; ++c) {
    const bool larger = value[c] > best[c] || value[c] != value[c];
    best[c] = larger ? value[c] : best[c];
    place[c] = larger ? where(c) : place[c];
  }
}

struct Windows {
  int size, stride, top, left, height, width, rows, columns;

  Windows(const std::vector<int64_t>& shape, int size, int stride, const std::vector<int>& padding)
      : size(size), stride(stride), top(padding[2]), left(padding[0]), height(shape[2]), width(shape[3]),
        rows((height + top + padding[3] - size) / stride + 1),
        columns((width + left + padding[1] - size) / stride + 1) {
    PD_CHECK(size * size < kNowhere, "max-pooling: windows of up to 15 x 15 are expected");
  }
};

// Pools one plane after another, reusing its buffers.
class PlanePool {
 public:
  explicit PlanePool(const Windows& windows)
      : w_(windows), length_((w_.columns + (w_.size - 1) / w_.stride + 15) / 16 * 16), values_(w_.height * length_),
        part_(values_ + w_.size), parts_(w_.stride * part_, kLowest), along_(values_), across_(length_),
        along_place_(values_), across_place_(length_) {}

  // Finds the maximum of each window and its number, counted row by row: first along the rows, then across them.
  void operator()(const float* source, float* target, uint8_t* places) {
    for (int row = 0; row < w_.height; ++row)
      split(source + row * w_.width, w_.width, w_.left, w_.stride, length_, part_, &parts_[row * length_]);
    std::fill(along_.begin(), along_.end(), kLowest);
    std::fill(along_place_.begin(), along_place_.end(), kNowhere);
    for (int j = 0; j < w_.size; ++j)
      keep_larger(&parts_[j % w_.stride * part_ + j / w_.stride], [j](int64_t) { return j; }, values_, along_.data(),
                  along_place_.data());
    for (int r = 0; r < w_.rows; ++r, target += w_.columns, places += w_.columns) {
      std::fill(across_.begin(), across_.end(), kLowest);
      std::fill(across_place_.begin(), across_place_.end(), kNowhere);
      const int start = r * w_.stride - w_.top;
      for (int i = std::max(0, -start); i < std::min(w_.size, w_.height - start); ++i) {
        const int* from = &along_place_[(start + i) * length_];
        const int before = i * w_.size;
        keep_larger(&along_[(start + i) * length_], [from, before](int64_t c) { return from[c] + before; }, length_,
                    across_.data(), across_place_.data());
      }
      std::copy_n(across_.begin(), w_.columns, target);
      std::copy_n(across_place_.begin(), w_.columns, places);
    }
  }

 private:
  const Windows w_;
  const int length_;            // of a row of windows, padded for reads beyond it
  const int64_t values_, part_;
  std::vector<float> parts_, along_, across_;
  std::vector<int> along_place_, across_place_;
};

std::vector<Tensor> MaxPool(const Tensor& x, int size, int stride, const std::vector<int>& padding, bool rectified) {
  check(x, "max-pooling");
  const std::vector<int64_t> shape = x.shape();
  const Windows windows(shape, size, stride, padding);
  const std::vector<int64_t> result = {shape[0], shape[1], windows.rows, windows.columns};
  Tensor y = paddle::empty(result), place = paddle::empty(result, paddle::DataType::UINT8);
  const float* source = x.data<float>();
  float* target = y.data<float>();
  uint8_t* places = place.data<uint8_t>();
  const int64_t planes = shape[0] * shape[1], pixels = shape[2] * shape[3], outputs = result[2] * result[3];
#pragma omp parallel
  {
    PlanePool pool(windows);
#pragma omp for schedule(static)
    for (int64_t n = 0; n < planes; ++n) pool(source + n * pixels, target + n * outputs, places + n * outputs);
  }
  return {y, place};
}

std::vector<Tensor> MaxPoolGradient(const Tensor& x, const Tensor& place, const Tensor& dy, int size, int stride,
                                    const std::vector<int>& padding, bool rectified) {
  check(dy, "gradient of max-pooling");
  const std::vector<int64_t> shape = x.shape();
  const Windows w(shape, size, stride, padding);
  Tensor dx = paddle::empty(shape);
  float* target = dx.data<float>();
  const float *source = x.data<float>(), *given = dy.data<float>();
  const uint8_t* places = place.data<uint8_t>();
  const int64_t planes = shape[0] * shape[1], pixels = shape[2] * shape[3];
  std::vector<int> steps(kNowhere);  // offset of each number from a window's first pixel
  for (int n = 0; n < size * size; ++n) steps[n] = n / size * w.width + n % size;
#pragma omp parallel for schedule(static)
  for (int64_t n = 0; n < planes; ++n) {
    float* plane = target + n * pixels;
    std::fill_n(plane, pixels, 0.0f);
    for (int r = 0; r < w.rows; ++r)
      for (int c = 0; c < w.columns; ++c) {
        const int64_t at = (n * w.rows + r) * w.columns + c;
        if (places[at] == kNowhere) continue;
        const int64_t first = (r * w.stride - w.top) * w.width + c * w.stride - w.left;
        const int64_t largest = first + steps[places[at]];
        if (!rectified || source[n * pixels + largest] > 0) plane[largest] += given[at];
      }
  }
  return {dx};
}

// ------------------------------------------------------------------------------------------------ linear layers

// y [N, M] of x [N, K] and w [K, M]
std::vector<Tensor> Linear(const Tensor& x, const Tensor& w, const Tensor& b, bool relu) {
  for (const Tensor* each : {&x, &w, &b}) check(*each, "linear layer");
  const int64_t rows = x.shape()[0], inputs = w.shape()[0], outputs = w.shape()[1];
  Tensor y = paddle::empty({rows, outputs});
  float* to = y.data<float>();
  const float* bias = b.data<float>();
  dnnl::error::wrap_c_api(dnnl_sgemm('N', 'N', rows, outputs, inputs, 1.0f, x.data<float>(), inputs, w.data<float>(),
                                     outputs, 0.0f, to, outputs),
                          "dnnl_sgemm");
  const float lowest = relu ? 0.0f : kLowest;
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < outputs; ++c) {
      const float value = to[r * outputs + c] + bias[c];
      to[r * outputs + c] = value < lowest ? lowest : value;  // keeps NaN
    }
  return {y};
}

std::vector<Tensor> LinearGradient(const Tensor& x, const Tensor& w, const Tensor& b, const Tensor& y,
                                   const Tensor& dy, bool relu) {
  check(dy, "gradient of a linear layer");
  Tensor gradient = dy;
  if (relu) {
    gradient = paddle::empty(dy.shape());
    mask_gradient(y, dy, gradient.data<float>());
  }
  Tensor db = paddle::empty(b.shape());
  const int64_t rows = dy.shape()[0], outputs = dy.shape()[1];
  const float* from = gradient.data<float>();
  float* to = db.data<float>();
  std::fill_n(to, outputs, 0.0f);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < outputs; ++c) to[c] += from[r * outputs + c];
  return {paddle::matmul(gradient, w, false, true), paddle::matmul(x, gradient, true, false), db};
}

}  // namespace

#define GEOMETRY "stride: int", "padding: std::vector<int>", "groups: int", "relu: bool", "mask: bool"

PD_BUILD_OP(alexnet_convolution)
    .Inputs({"X", "W", "B"})
    .Outputs({"Y"})
    .Attrs({GEOMETRY})
    .SetKernelFn(PD_KERNEL(Convolution));

PD_BUILD_GRAD_OP(alexnet_convolution)
    .Inputs({"X", "W", "B", "Y", paddle::Grad("Y")})
    .Outputs({paddle::Grad("X"), paddle::Grad("W"), paddle::Grad("B")})
    .Attrs({GEOMETRY})
    .SetKernelFn(PD_KERNEL(AllGradients));

PD_BUILD_OP(alexnet_first_convolution)
    .Inputs({"X", "W", "B"})
    .Outputs({"Y"})
    .Attrs({GEOMETRY})
    .SetKernelFn(PD_KERNEL(Convolution));

PD_BUILD_GRAD_OP(alexnet_first_convolution)
    .Inputs({"X", "W", "B", "Y", paddle::Grad("Y")})
    .Outputs({paddle::Grad("W"), paddle::Grad("B")})
    .Attrs({GEOMETRY})
    .SetKernelFn(PD_KERNEL(GradientsOfParameters));

PD_BUILD_OP(alexnet_lrn)
    .Inputs({"X"})
    .Outputs({"Y"})
    .Attrs({"size: int", "a: float", "beta: float", "k: float", "groups: int", "rectified: bool"})
    .SetKernelFn(PD_KERNEL(Lrn));

PD_BUILD_GRAD_OP(alexnet_lrn)
    .Inputs({"X", paddle::Grad("Y")})
    .Outputs({paddle::Grad("X")})
    .Attrs({"size: int", "a: float", "beta: float", "k: float", "groups: int", "rectified: bool"})
    .SetKernelFn(PD_KERNEL(LrnGradient));

PD_BUILD_OP(alexnet_max_pool)
    .Inputs({"X"})
    .Outputs({"Y", "Place"})
    .Attrs({"size: int", "stride: int", "padding: std::vector<int>", "rectified: bool"})
    .SetKernelFn(PD_KERNEL(MaxPool));

PD_BUILD_GRAD_OP(alexnet_max_pool)
    .Inputs({"X", "Place", paddle::Grad("Y")})
    .Outputs({paddle::Grad("X")})
    .Attrs({"size: int", "stride: int", "padding: std::vector<int>", "rectified: bool"})
    .SetKernelFn(PD_KERNEL(MaxPoolGradient));

PD_BUILD_OP(alexnet_linear)
    .Inputs({"X", "W", "B"})
    .Outputs({"Y"})
    .Attrs({"relu: bool"})
    .SetKernelFn(PD_KERNEL(Linear));

PD_BUILD_GRAD_OP(alexnet_linear)
    .Inputs({"X", "W", "B", "Y", paddle::Grad("Y")})
    .Outputs({paddle::Grad("X"), paddle::Grad("W"), paddle::Grad("B")})
    .Attrs({"relu: bool"})
    .SetKernelFn(PD_KERNEL(LinearGradient));
