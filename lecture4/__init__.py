"""A lecture on deep-learning fundamentals that runs.

==============================  ==================================  ==============================
Section of the lecture          File                                Command that shows it
==============================  ==================================  ==============================
Softmax classifier              lecture4/models/softmax.py,         python train.py model=softmax
                                lecture4/ops/softmax.py
Entropy, cross-entropy, KL      lecture4/ops/information.py         ops.kl_divergence(p, q, base=2)
Cross-entropy + penalty         lecture4/classifier.py              … penalty=l2
Random search                   lecture4/optim.py                   … optim=random_local_search
The loss gradient               lecture4/ops, lecture4/numerical.py python train.py sanity=true
Gradient descent                lecture4/optim.py                   … data.batch_size=null
Minibatch SGD                   lecture4/data/module.py             … optim=sgd data.batch_size=64
Not linearly separable, polar   lecture4/data/rings.py,             python train.py model=softmax
                                lecture4/preprocess.py              data=rings preprocess=polar
Neural networks                 lecture4/models/mlp.py              python train.py model=mlp
How to compute the gradient?    lecture4/ops/linear.py              … model.layers=byhand
Convolution                     lecture4/ops/convolution.py         python train.py model=convnet
(N + 2P − F)/S + 1              lecture4/ops/windows.py             … model.strict_sizes=true
Pooling                         lecture4/ops/pooling.py             … model=convnet
Activation functions            lecture4/ops/activations.py         … model.activation=sigmoid
Data preprocessing              lecture4/preprocess.py              … preprocess=mean_image
Weight initialisation           lecture4/init.py                    … model.init=xavier
Adam                            lecture4/optim.py                   … optim=byhand_adam
Every claim, measured           lecture4/claims                     python lecture.py
==============================  ==================================  ==============================
"""
